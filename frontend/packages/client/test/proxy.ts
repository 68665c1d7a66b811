/** A bad line: forwards TCP connections, and cuts, slows or refuses them on demand. */

import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server, type Socket } from 'node:net'

export class BadLine {
  /** Connections are cut after so many bytes from the client. */
  cutAfter: number | null = null
  /** Bytes from the client per second, over all connections; null: as fast as it goes. */
  bytesPerSecond: number | null = null
  refusing = false
  cuts = 0
  readonly #target: () => number
  readonly #sockets = new Set<Socket>()
  readonly #server: Server = createServer((client) => this.#forward(client))

  constructor(target: () => number) {
    this.#target = target
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/api/v1`
  }

  async open(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  /** Cut every connection that there is. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #forward(client: Socket): void {
    if (this.refusing) {
      client.destroy()
      return
    }
    const server = connect(this.#target(), '127.0.0.1')
    let bytes = 0
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
    server.pipe(client)
    client.on('data', (data) => {
      bytes += data.length
      if (this.cutAfter !== null && bytes > this.cutAfter) {
        this.cuts++
        client.destroy()
        return
      }
      const flows = server.write(data)
      if (this.bytesPerSecond !== null) {
        client.pause()
        setTimeout(() => client.resume(), (data.length * 1000) / this.bytesPerSecond)
      } else if (!flows) {
        client.pause()
        server.once('drain', () => client.resume())
      }
    })
  }
}
