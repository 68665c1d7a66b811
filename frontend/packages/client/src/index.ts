/** `@forebay/client`: uploads very large files to a Forebay server. No DOM: browsers, workers, Node 20. */

export { ForebayError } from './errors.ts'
export * from './types.ts'
