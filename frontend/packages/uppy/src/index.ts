/** `@forebay/uppy`: an Uppy uploader on `@forebay/client`. */

export type * from './options.ts'
