// @tus/server with its store for directories; with "synced" its hook makes content and name outlive a power cut.
import { open } from "node:fs/promises"
import { join } from "node:path"
import { FileStore } from "@tus/file-store"
import { Server } from "@tus/server"

const [port, directory, durability] = process.argv.slice(2)

async function sync(path) {
  const file = await open(path, "r")
  await file.sync()
  await file.close()
}

const server = new Server({
  path: "/files",
  datastore: new FileStore({ directory }),
  async onUploadFinish(_request, upload) {
    if (durability === "synced") {
      await sync(join(directory, upload.id))
      await sync(directory)
    }
    return {}
  },
})
server.listen({ host: "127.0.0.1", port: Number(port) })
