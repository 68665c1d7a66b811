// Uppy with its tus plugin, as a page uses them; `window.send` gives the upload's address when it has ended.
import Uppy from '@uppy/core'
import Tus from '@uppy/tus'

window.send = async ({ endpoint, options, file }) => {
  const uppy = new Uppy().use(Tus, { endpoint, retryDelays: [50, 100, 200, 400, 800, 1600], ...options })
  uppy.addFile({ name: file.name, type: file.type, data: file })
  uppy.on('upload-progress', (_, { bytesUploaded }) => window.dispatchEvent(new CustomEvent('sent', { detail: bytesUploaded })))
  const { successful, failed } = await uppy.upload()
  return { urls: successful.map((each) => each.uploadURL), errors: failed.map((each) => each.error) }
}
