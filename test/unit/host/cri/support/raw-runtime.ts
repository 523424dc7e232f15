import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { projectRoot } from '../../../../harness/project-root.ts';

/** What the server answers to one call: bytes as they are, a gRPC status, or nothing at all. */
export type RawAnswer =
  | { readonly bytes: Uint8Array }
  | { readonly code: number; readonly details: string }
  | { readonly silent: true };

export interface RawCall {
  readonly method: string;
  readonly request: Buffer;
  /** undefined: the caller set no deadline. */
  readonly deadlineMs: number | undefined;
}

/** The project's .proto files, read by reflection: another way to the wire than the generated code under test. */
export function loadSchema(): protobuf.Root {
  const directory = join(projectRoot(), 'proto');
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.proto'));
  const root = new protobuf.Root().loadSync(files.map((file) => join(directory, file)));
  root.resolveAll();
  return root;
}

/** A gRPC server on a unix socket that answers what a test wants, byte for byte. */
export class RawRuntime {
  readonly calls: RawCall[] = [];
  readonly schema = loadSchema();
  readonly endpoint: string;
  /** Streams that are open, newest last. */
  readonly streams: { readonly method: string; readonly stream: ServerWritableStream<Buffer, Buffer> }[] = [];
  private readonly directory = mkdtempSync(join(tmpdir(), 'dhcri-'));
  private readonly answers = new Map<string, (request: Buffer) => RawAnswer>();
  private readonly unimplementedStreams = new Set<string>();
  private server: Server | undefined;

  constructor() {
    this.endpoint = `unix://${this.directory}/cri.sock`;
  }

  /** By method name, such as "Version". */
  on(method: string, answer: RawAnswer | ((request: Buffer) => RawAnswer)): void {
    this.answers.set(method, typeof answer === 'function' ? answer : () => answer);
  }

  answer(method: string, message: object): void {
    const type = this.typeOf(method, 'resolvedResponseType');
    this.on(method, { bytes: type.encode(type.fromObject(message)).finish() });
  }

  refuseStream(method: string): void {
    this.unimplementedStreams.add(method);
  }

  requests(method: string): Record<string, unknown>[] {
    const type = this.typeOf(method, 'resolvedRequestType');
    return this.calls
      .filter((call) => call.method === method)
      .map((call) => type.toObject(type.decode(call.request), { longs: Number, enums: String }));
  }

  send(method: string, message: object): void {
    const type = this.typeOf(method, 'resolvedResponseType');
    const bytes = Buffer.from(type.encode(type.fromObject(message)).finish());
    for (const open of this.streams) if (open.method === method) open.stream.write(bytes);
  }

  sendBytes(method: string, bytes: Buffer): void {
    for (const open of this.streams) if (open.method === method) open.stream.write(bytes);
  }

  async start(): Promise<void> {
    const server = new Server({ 'grpc.max_send_message_length': -1, 'grpc.max_receive_message_length': -1 });
    for (const service of this.services()) {
      const definition: Record<string, object> = {};
      const handlers: Record<string, (call: never, callback: never) => void> = {};
      for (const method of service.methodsArray) {
        definition[method.name] = {
          path: `/${service.fullName.slice(1)}/${method.name}`,
          requestStream: false,
          responseStream: method.responseStream === true,
          requestSerialize: (bytes: Buffer) => bytes,
          requestDeserialize: (bytes: Buffer) => bytes,
          responseSerialize: (bytes: Buffer) => bytes,
          responseDeserialize: (bytes: Buffer) => bytes,
        };
        handlers[method.name] =
          method.responseStream === true
            ? (call: ServerWritableStream<Buffer, Buffer>) => this.open(method.name, call)
            : (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) =>
                this.handle(method.name, call, callback);
      }
      server.addService(definition as never, handlers as never);
    }
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(this.endpoint, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    this.server = server;
  }

  /** As a daemon that was killed: connections break. */
  stop(): void {
    this.server?.forceShutdown();
    this.server = undefined;
    this.streams.length = 0;
    rmSync(`${this.directory}/cri.sock`, { force: true });
  }

  close(): void {
    this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  private handle(name: string, call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>): void {
    const deadline = call.getDeadline();
    const at = deadline instanceof Date ? deadline.getTime() : deadline;
    this.calls.push({
      method: name,
      request: call.request,
      deadlineMs: Number.isFinite(at) ? at - Date.now() : undefined,
    });
    const answer = this.answers.get(name)?.(call.request) ?? { code: 12, details: `unknown method ${name}` };
    if ('bytes' in answer) callback(null, Buffer.from(answer.bytes));
    else if ('code' in answer) callback({ code: answer.code, details: answer.details, metadata: new Metadata() });
  }

  private open(name: string, stream: ServerWritableStream<Buffer, Buffer>): void {
    this.calls.push({ method: name, request: stream.request, deadlineMs: undefined });
    if (this.unimplementedStreams.has(name)) {
      stream.emit('error', { code: 12, details: `unknown method ${name}` });
      return;
    }
    const entry = { method: name, stream };
    this.streams.push(entry);
    stream.on('cancelled', () => {
      const at = this.streams.indexOf(entry);
      if (at !== -1) this.streams.splice(at, 1);
    });
  }

  private services(): protobuf.Service[] {
    return ['runtime.v1.RuntimeService', 'runtime.v1.ImageService', 'containerd.services.events.v1.Events'].map(
      (name) => this.schema.lookupService(name),
    );
  }

  private typeOf(method: string, end: 'resolvedRequestType' | 'resolvedResponseType'): protobuf.Type {
    for (const service of this.services()) {
      const type = service.methods[method]?.[end];
      if (type) return type;
    }
    throw new Error(`no method ${method}`);
  }
}
