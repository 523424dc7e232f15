import { decodeMessage, type Message, messageLength } from './message.ts';

/** Cuts what comes from a bus into the lines of its SASL handshake and, from `begin` on, into messages (D-Bus specification). */
export class BusReader {
  private readonly onLine: (line: string) => void;
  private readonly onMessage: (message: Message) => void;
  private data: Buffer = Buffer.alloc(0);
  private begun = false;

  constructor(to: { readonly onLine: (line: string) => void; readonly onMessage: (message: Message) => void }) {
    this.onLine = to.onLine;
    this.onMessage = to.onMessage;
  }

  /** Messages follow: BEGIN has been said. */
  begin(): void {
    this.begun = true;
  }

  /** Throws on what is no message: out of step with the bus nothing more can be understood. */
  receive(piece: Buffer): void {
    this.data = this.data.length === 0 ? piece : Buffer.concat([this.data, piece]);
    while (this.begun ? this.takeMessage() : this.takeLine());
  }

  private takeLine(): boolean {
    const end = this.data.indexOf('\r\n');
    if (end < 0) return false;
    const line = this.data.toString('latin1', 0, end);
    this.data = this.data.subarray(end + 2);
    this.onLine(line);
    return true;
  }

  private takeMessage(): boolean {
    const length = messageLength(this.data);
    if (length === undefined || this.data.length < length) return false;
    const message = decodeMessage(this.data.subarray(0, length));
    this.data = this.data.subarray(length);
    this.onMessage(message);
    return true;
  }
}
