/** `@forebay/uppy`: an Uppy uploader on `@forebay/client`. */

export type { ForebayFileState, ForebayUploadOptions } from './options.ts'
export { ForebayUpload, ForebayUpload as default } from './plugin.ts'
