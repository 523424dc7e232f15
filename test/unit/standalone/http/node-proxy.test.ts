import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect, TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SystemClock } from '../../../../src/kit/clock.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { Authority } from '../../../../src/standalone/certificates/authority.ts';
import { HttpsNodeProxy } from '../../../../src/standalone/http/node-proxy.ts';
import { TestClient } from '../api-client.ts';
import { startEmbeddedApi } from '../embedded-api.ts';

let server: Awaited<ReturnType<typeof startEmbeddedApi>>;
let client: TestClient;
let node: Server;

/** What a node hears on a connection whose upgrade it refused. */
const behindRefusal: string[] = [];
const POD = '/api/v1/namespaces/default/pods/web';

/** What the node is expected to show. */
let expected: () => string | undefined = () => undefined;
let asked = 0;
let ownCertificate: string;

beforeAll(async () => {
  server = await startEmbeddedApi(
    {},
    {
      nodeProxy: (pair) =>
        new HttpsNodeProxy(
          { client: pair, connectTimeoutMs: 2_000, certificateOf: () => expected() },
          { clock: new SystemClock() },
        ),
    },
  );
  client = await TestClient.fromKubeconfig(server.api.kubeconfigPath);
  // A node's HTTPS API that says what it was asked, by whom.
  const own = await Authority.create('node', new SystemClock());
  node = createServer({
    cert: own.certificate,
    key: own.key,
    ca: server.api.authority,
    requestCert: true,
    rejectUnauthorized: false,
  });
  const caller = (request: IncomingMessage): string => {
    const { socket } = request;
    return socket instanceof TLSSocket && socket.authorized
      ? String(socket.getPeerCertificate().subject?.CN)
      : 'nobody';
  };
  ownCertificate = own.certificate;
  node.on('request', (request, response) => {
    asked++;
    if (request.url === '/moved') {
      response.writeHead(301, { location: '/moved/' }).end('there');
      return;
    }
    if (request.url?.startsWith('/no') === true) {
      response.writeHead(406, { 'content-type': 'text/plain' }).end('not like this\n');
      return;
    }
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.write(
      `${request.method} ${request.url} ${caller(request)} ${request.headers.authorization ?? 'no token'}\n`,
    );
    setTimeout(() => response.end('end\n'), 50);
  });
  node.on('upgrade', (request, socket) => {
    if (request.url?.includes('refuse') === true) {
      socket.on('data', (data) => behindRefusal.push(String(data)));
      socket.write('HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\ncontent-length: 7\r\n\r\nnot you');
      return;
    }
    socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: SPDY/3.1\r\nconnection: Upgrade\r\n\r\n');
    socket.write(`${request.url} ${caller(request)}\n`);
    socket.on('data', (data) => socket.write(String(data).toUpperCase()));
    socket.on('end', () => socket.end());
  });
  await new Promise<void>((resolve) => node.listen(0, '127.0.0.1', resolve));
  await client.post('/api/v1/nodes', {
    metadata: { name: 'near' },
    status: {
      addresses: [
        { type: 'Hostname', address: 'near' },
        { type: 'InternalIP', address: '127.0.0.1' },
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: (node.address() as AddressInfo).port } },
    },
  });
  const containers = [
    { name: 'a', image: 'i' },
    { name: 'b', image: 'i' },
  ];
  await client.post('/api/v1/namespaces/default/pods', {
    metadata: { name: 'web' },
    spec: { nodeName: 'near', containers },
  });
});

afterAll(async () => {
  client.close();
  node.closeAllConnections();
  node.close();
  await server.close();
});

it('fetches logs from the node, with its own credentials', async () => {
  const answer = await client.get(`${POD}/log?container=b&follow=true&tailLines=5`);
  expect(answer.text).toBe(
    'GET /containerLogs/default/web/b?follow=true&tailLines=5 kube-apiserver-kubelet-client no token\nend\n',
  );
  expect(await client.get(`${POD}/log`)).toMatchObject({
    code: 400,
    body: { message: 'a container name must be specified for pod web, choose one of: [a b]' },
  });
});

it('goes on to any path of the node, and gives its answers as they are', async () => {
  const proxy = '/api/v1/nodes/near/proxy';
  const { text } = await client.get(`${proxy}/logs/?query=a%2Fb&x=%20`);
  expect(text).toBe('GET /logs/?query=a%2Fb&x=%20 kube-apiserver-kubelet-client no token\nend\n');
  for (const [path, onward] of [
    [proxy, '/'],
    [`${proxy}?a=b`, '/?a=b'],
    [`${proxy}/x/../y`, '/x/../y'],
    ['/api/v1/nodes/https:near:/proxy/metrics/cadvisor', '/metrics/cadvisor'],
  ]) {
    expect((await client.get(path ?? '')).text).toMatch(
      new RegExp(`^GET ${onward?.replaceAll(/[?.]/g, '\\$&')} kube-`),
    );
  }
  expect(await client.get(`${proxy}/no`)).toMatchObject({ code: 406, text: 'not like this\n' });
  const moved = await client.get(`${proxy}/moved`);
  expect([moved.code, moved.headers['location']]).toEqual([301, `${proxy}/moved/`]);
  expect(await client.get('/api/v1/nodes/far/proxy/pods')).toMatchObject({ code: 404 });
  expect(await client.get('/api/v1/nodes/near:22/proxy/pods')).toMatchObject({ code: 400 });
  expect(await client.get('/api/v1/nodes/http:near:10255/proxy/pods')).toMatchObject({ code: 400 });
  expect(await client.get('/api/v1/nodes/near/status/pods')).toMatchObject({ code: 404 });
});

it('says nothing to who shows another certificate than the node', async () => {
  try {
    expected = () => ownCertificate;
    expect((await client.get(`${POD}/log?container=b`)).text).toMatch(/^GET \/containerLogs/);
    const before = asked;
    expected = () => server.api.authority;
    const refused = {
      code: 503,
      body: { message: expect.stringContaining('who answers there shows another certificate than the node does') },
    };
    expect(await client.get(`${POD}/log?container=b`)).toMatchObject(refused);
    expect(await client.get('/api/v1/nodes/near/proxy/pods')).toMatchObject(refused);
    const socket = await dial();
    let text = '';
    socket.on('data', (data) => {
      text += data;
    });
    socket.write(
      `POST ${POD}/exec?command=ls&container=a HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\r\n`,
    );
    await expect.poll(() => text).toMatch(/^HTTP\/1\.1 503 /);
    expected = () => {
      throw new CodedError('Unavailable', 'it does not serve yet');
    };
    expect(await client.get(`${POD}/log?container=b`)).toMatchObject({ code: 503 });
    expect(asked).toBe(before);
  } finally {
    expected = () => undefined;
  }
});

async function dial(): Promise<TLSSocket> {
  const config = JSON.parse(await readFile(join(server.dataDir, 'kubeconfig'), 'utf8'));
  const { user } = config.users[0];
  const decode = (text: string): string => Buffer.from(text, 'base64').toString();
  const { port } = new URL(server.api.url);
  return connect({
    host: '127.0.0.1',
    port: Number(port),
    ca: server.api.authority,
    cert: decode(user['client-certificate-data']),
    key: decode(user['client-key-data']),
  });
}

it('connects upgraded streams through', async () => {
  const socket = await dial();
  let text = '';
  socket.on('data', (data) => {
    text += data;
  });
  socket.write(
    `POST ${POD}/exec?command=ls&command=-l&stdout=true&tty=false&container=a HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\r\n`,
  );
  await expect
    .poll(() => text)
    .toContain('/exec/default/web/a?command=ls&command=-l&output=1 kube-apiserver-kubelet-client\n');
  expect(text).toMatch(/^HTTP\/1\.1 101 /);
  socket.write('hello');
  await expect.poll(() => text).toContain('HELLO');
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.end();
  await closed;
});

it('ends the connection with a refusal: nothing may be asked behind it in its own name (CVE-2018-1002105)', async () => {
  const socket = await dial();
  let text = '';
  socket.on('data', (data) => {
    text += data;
  });
  const closed = new Promise((resolve) => socket.on('end', resolve));
  const upgrade = 'host: x\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\r\n';
  socket.write(`POST ${POD}/exec?command=refuse&stdout=true&container=a HTTP/1.1\r\n${upgrade}`);
  await expect.poll(() => text).toContain('not you');
  socket.write('GET /pods HTTP/1.1\r\nhost: x\r\n\r\n');
  await closed;
  socket.destroy();
  expect(text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n[\s\S]*Connection: close\r\n\r\nnot you$/);
  expect(behindRefusal).toEqual([]);
});

it('says when the node cannot be reached', async () => {
  await client.post('/api/v1/nodes', {
    metadata: { name: 'far' },
    status: {
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port: 1 } },
    },
  });
  const containers = [{ name: 'a', image: 'i' }];
  await client.post('/api/v1/namespaces/default/pods', {
    metadata: { name: 'lost' },
    spec: { nodeName: 'far', containers },
  });
  expect(await client.get('/api/v1/namespaces/default/pods/lost/log')).toMatchObject({
    code: 503,
    body: { message: expect.stringContaining('error dialing the API of node "far"') },
  });
});
