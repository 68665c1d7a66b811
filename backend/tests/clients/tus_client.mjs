// tus-js-client, told what to do by the JSON of its first argument; says what it does in lines of JSON.
import { createReadStream, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { PassThrough } from 'node:stream'

const { packages, file, endpoint, name, parts, resume, abortAfter, storage, inMemory, ...options } = JSON.parse(process.argv[2])
const tus = createRequire(packages)('tus-js-client')
const say = (event, told = {}) => process.stdout.write(`${JSON.stringify({ event, ...told })}\n`)

// Of a file it knows the length, and with `uploadLengthDeferred` announces more for the last PATCH than there is.
const stream = options.uploadLengthDeferred ? createReadStream(file).pipe(new PassThrough()) : createReadStream(file)
const content = inMemory ? readFileSync(file) : stream
const upload = new tus.Upload(content, {
  endpoint,
  metadata: { filename: name, filetype: 'application/x-forebay' },
  retryDelays: [50, 100, 200, 400, 800, 1600, 3200],
  ...options,
  ...(parts ? { parallelUploads: parts } : {}),
  ...(storage ? { urlStorage: new tus.FileUrlStorage(storage) } : {}),
  fingerprint: async () => name,
  onBeforeRequest: (request) => say('request', { method: request.getMethod(), offset: request.getHeader('Upload-Offset') ?? null }),
  onProgress: (sent) => say('progress', { sent }),
  onChunkComplete: async (_size, accepted) => {
    if (abortAfter !== undefined && accepted >= abortAfter) {
      await upload.abort()
      say('aborted', { accepted })
      process.exit(0)
    }
  },
  onError: (error) => {
    say('error', { message: String(error) })
    process.exit(1)
  },
  onSuccess: () => say('success', { url: upload.url }),
})
if (resume) {
  const [earlier] = await upload.findPreviousUploads()
  if (earlier === undefined) throw new Error('nothing to resume')
  upload.resumeFromPreviousUpload(earlier)
}
upload.start()
