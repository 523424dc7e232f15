import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  Client,
  credentials,
  Metadata,
  type Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { projectRoot } from './project-root.ts';

/** A refusal with its gRPC status code. */
export class GrpcFailure extends Error {
  readonly code: number;

  constructor(code: number, details: string) {
    super(details);
    this.code = code;
  }
}

/** Answers a call: a plain object in the shape of the response's message. */
export type Handler = (request: Record<string, unknown>, call: { readonly cancelled: boolean }) => Promise<object>;

/** The project's .proto files of these folders, read by reflection: another way to the wire than the generated code. */
export function loadProtos(...folders: readonly string[]): protobuf.Root {
  const files = folders.flatMap((folder) => {
    const directory = join(projectRoot(), 'proto', folder);
    return readdirSync(directory)
      .filter((name) => name.endsWith('.proto'))
      .map((name) => join(directory, name));
  });
  const root = new protobuf.Root().loadSync(files);
  root.resolveAll();
  return root;
}

/** Answers a call by a stream: `open` is told how to send, and resolves when the stream is to end. */
export type StreamHandler = (send: (message: object) => void, closed: AbortSignal) => Promise<void>;

/** Serves the calls of a service; those without a handler are Unimplemented. */
export function addService(
  server: Server,
  service: protobuf.Service,
  handlers: Record<string, Handler>,
  streams: Record<string, StreamHandler> = {},
): void {
  const definition: Record<string, object> = {};
  const implementation: Record<string, object> = {};
  for (const method of service.methodsArray) {
    const { resolvedRequestType: request, resolvedResponseType: response, name } = method;
    const handler = handlers[name];
    const stream = streams[name];
    if (request === null || response === null || (handler ?? stream) === undefined) continue;
    definition[name] = {
      path: `/${service.fullName.slice(1)}/${name}`,
      requestStream: false,
      responseStream: stream !== undefined,
      requestDeserialize: (bytes: Buffer) =>
        request.toObject(request.decode(bytes), {
          longs: Number,
          enums: String,
          defaults: true,
          arrays: true,
          objects: true,
        }),
      responseSerialize: (message: object) => Buffer.from(response.encode(response.fromObject(message)).finish()),
      requestSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
    };
    if (stream !== undefined) {
      implementation[name] = (call: ServerWritableStream<object, object>): void => {
        const closed = new AbortController();
        call.on('cancelled', () => closed.abort());
        void stream((message) => call.write(message), closed.signal).finally(() => call.end());
      };
      continue;
    }
    if (handler === undefined) continue;
    implementation[name] = (
      call: ServerUnaryCall<Record<string, unknown>, object>,
      callback: sendUnaryData<object>,
    ): void => {
      handler(call.request, call).then(
        (answer) => callback(null, answer),
        (error: unknown) =>
          callback({
            code: error instanceof GrpcFailure ? error.code : 13,
            details: error instanceof Error ? error.message : String(error),
            metadata: new Metadata(),
          }),
      );
    };
  }
  server.addService(definition as never, implementation as never);
}

/** Makes one unary call of a service on a unix socket. */
export async function callUnary(
  socket: string,
  service: protobuf.Service,
  name: string,
  message: object,
): Promise<Record<string, unknown>> {
  const { resolvedRequestType: request, resolvedResponseType: response } = service.methods[name] ?? {};
  if (!request || !response) throw new Error(`there is no ${service.name}.${name}`);
  const client = new Client(`unix://${socket}`, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  try {
    return await new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        `/${service.fullName.slice(1)}/${name}`,
        (body: object) => Buffer.from(request.encode(request.fromObject(body)).finish()),
        (bytes: Buffer) => response.toObject(response.decode(bytes), { longs: Number, defaults: true, arrays: true }),
        message,
        { deadline: Date.now() + 10_000 },
        (error, answer) => (error === null && answer !== undefined ? resolve(answer) : reject(error)),
      );
    });
  } finally {
    client.close();
  }
}
