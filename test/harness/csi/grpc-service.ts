import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Metadata, type Server, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { projectRoot } from '../project-root.ts';

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

/** Serves the unary calls of a service; those without a handler are Unimplemented. */
export function addUnaryService(server: Server, service: protobuf.Service, handlers: Record<string, Handler>): void {
  const definition: Record<string, object> = {};
  const implementation: Record<string, object> = {};
  for (const method of service.methodsArray) {
    const { resolvedRequestType: request, resolvedResponseType: response, name } = method;
    const handler = handlers[name];
    if (request === null || response === null || handler === undefined) continue;
    definition[name] = {
      path: `/${service.fullName.slice(1)}/${name}`,
      requestStream: false,
      responseStream: false,
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
