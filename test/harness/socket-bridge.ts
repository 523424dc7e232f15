import { connect, createServer, type Server, type Socket } from 'node:net';
import type { HarnessRun } from './harness-run.ts';

/** In the namespace: a port of its loopback, carried over a socket in the file system, which has no namespaces. */
const FORWARDER = `
const net = require('node:net');
const [path, port] = process.argv.slice(1);
net.createServer((near) => {
  const far = net.connect(path);
  near.pipe(far).pipe(near);
  near.on('error', () => far.destroy());
  far.on('error', () => near.destroy());
}).listen(Number(port), '127.0.0.1');
`;

/** Makes a TCP port of this process's loopback reachable as 127.0.0.1:`port` in a run's network namespace. */
export class SocketBridge {
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.server = server;
  }

  static async open(run: HarnessRun, netns: string, from: number, port: number): Promise<SocketBridge> {
    const path = `${run.paths.runDir}/bridge-${port}.sock`;
    const bridge = new SocketBridge(
      createServer((near) => {
        const far = connect(from, '127.0.0.1');
        for (const socket of [near, far]) {
          bridge.sockets.add(socket);
          socket.on('close', () => bridge.sockets.delete(socket));
          socket.on('error', () => {
            near.destroy();
            far.destroy();
          });
        }
        near.pipe(far).pipe(near);
      }),
    );
    await new Promise<void>((resolve) => bridge.server.listen(path, resolve));
    run.spawn(`bridge-${port}`, [process.execPath, '-e', FORWARDER, path, String(port)], { netns });
    return bridge;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }
}
