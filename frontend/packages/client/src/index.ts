/** `@forebay/client`: uploads very large files to a Forebay server. No DOM: browsers, workers, Node 20. */

export { ForebayClient, fileSource } from './client.ts'
export { inlineDigester, workerDigester } from './digester.ts'
export { ForebayError } from './errors.ts'
export { newKey } from './key.ts'
export { eventSourceEvents } from './news.ts'
export * from './types.ts'
