import { Metadata, Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { CodedError, messageOf } from '../../kit/errors.ts';

/** Answers a call, bytes to bytes: the code that reads and writes them is loaded with the first one. */
export type ServedCall = (request: Buffer) => Promise<Uint8Array>;

const UNKNOWN = 2;
const RESOURCE_EXHAUSTED = 8;

/**
 * Serves unary calls on a unix socket, by their paths ("/package.Service/Method"). What an answer throws is the caller's
 * error, with code Unknown as grpc-go gives to a plain error.
 */
export async function serveUnary(
  socket: string,
  calls: Readonly<Record<string, ServedCall>>,
): Promise<{ close(): Promise<void> }> {
  const server = new Server({ 'grpc.enable_channelz': 0 });
  const definition: Record<string, object> = {};
  const handlers: Record<string, object> = {};
  const same = (bytes: Buffer): Buffer => bytes;
  for (const [path, answer] of Object.entries(calls)) {
    definition[path] = {
      path,
      requestStream: false,
      responseStream: false,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: (bytes: Uint8Array) => Buffer.from(bytes),
      responseDeserialize: same,
    };
    handlers[path] = (call: ServerUnaryCall<Buffer, Uint8Array>, callback: sendUnaryData<Uint8Array>): void => {
      answer(call.request).then(
        (message) => callback(null, message),
        (error: unknown) => {
          const exhausted = error instanceof CodedError && error.code === 'ResourceExhausted';
          const code = exhausted ? RESOURCE_EXHAUSTED : UNKNOWN;
          callback({ code, details: messageOf(error), metadata: new Metadata() });
        },
      );
    };
  }
  server.addService(definition as never, handlers as never);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  return {
    close: async () => {
      server.forceShutdown();
    },
  };
}
