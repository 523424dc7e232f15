// grpc.health.v1.Health on a port of loopback and all addresses: node grpc-health-server.mjs PORT FILE.
// The file says SERVING, NOT_SERVING or anything else for UNKNOWN.
import { readFileSync } from 'node:fs';
import { Server, ServerCredentials } from '@grpc/grpc-js';

const [port, file] = process.argv.slice(2);
const STATUS = { SERVING: 1, NOT_SERVING: 2 };
const server = new Server();
server.addService(
  {
    check: {
      path: '/grpc.health.v1.Health/Check',
      requestStream: false,
      responseStream: false,
      requestSerialize: (bytes) => bytes,
      requestDeserialize: (bytes) => bytes,
      // HealthCheckResponse: field 1, a varint.
      responseSerialize: (status) => Buffer.from([0x08, status]),
      responseDeserialize: (bytes) => bytes,
    },
  },
  { check: (_call, callback) => callback(null, STATUS[readFileSync(file, 'utf8').trim()] ?? 0) },
);
server.bindAsync(`0.0.0.0:${port}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
