import type { Socket } from 'node:net';

/**
 * The connections that wait for a request. There may be so many of them; then the one that has waited longest has to go,
 * so that nobody keeps others out by holding connections, and none that is at work is cut off.
 */
export class IdleConnections {
  private readonly most: number;
  // In the order in which they began to wait.
  private readonly waiting = new Set<Socket>();

  constructor(most: number) {
    this.most = most;
  }

  get size(): number {
    return this.waiting.size;
  }

  add(socket: Socket): void {
    if (socket.destroyed) return;
    this.waiting.add(socket);
    for (const oldest of this.waiting) {
      if (this.waiting.size <= this.most) break;
      this.waiting.delete(oldest);
      oldest.destroy();
    }
  }

  remove(socket: Socket): void {
    this.waiting.delete(socket);
  }
}
