import { BlockList, isIP } from 'node:net';
import { CodedError } from '../kit/errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy to reach `server` by: the connection's own, or the environment's as Go reads it (golang.org/x/net/http/
 * httpproxy): HTTPS_PROXY for https, HTTP_PROXY for http, unless NO_PROXY or loopback. undefined: straight there.
 */
export function proxyFor(server: URL, own: URL | undefined, env: Environment): URL | undefined {
  if (own !== undefined) return own;
  const name = server.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const text = variable(env, name);
  if (text === '' || bypasses(server, variable(env, 'NO_PROXY'))) return undefined;
  const address = text.includes('://') ? text : `http://${text}`;
  const parsed = URL.canParse(address) ? new URL(address) : undefined;
  const proxy =
    parsed !== undefined && ['http:', 'https:', 'socks5:'].includes(parsed.protocol) && parsed.hostname !== ''
      ? parsed
      : undefined;
  // The text may hold a password.
  if (proxy === undefined) {
    throw new CodedError('InvalidConfig', `${name} is no URL of a proxy; expected scheme http, https or socks5`);
  }
  return proxy;
}

/** Host and port as sockets take them. */
export function endpointOf(url: URL): { readonly host: string; readonly port: number } {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const usual = url.protocol === 'http:' ? 80 : url.protocol === 'socks5:' ? 1080 : 443;
  return { host, port: url.port === '' ? usual : Number(url.port) };
}

function variable(env: Environment, name: string): string {
  return env[name] || env[name.toLowerCase()] || '';
}

function bypasses(server: URL, noProxy: string): boolean {
  const { host, port } = endpointOf(server);
  const family = isIP(host);
  if (host === 'localhost' || (family === 4 && host.startsWith('127.')) || host === '::1') return true;
  return noProxy
    .toLowerCase()
    .split(',')
    .map((entry) => entry.trim())
    .some((entry) => entry !== '' && matches(entry, host, family, port));
}

function matches(entry: string, host: string, family: number, port: number): boolean {
  if (entry === '*') return true;
  const [network = '', bits] = entry.split('/');
  if (bits !== undefined) return isIn(network, Number(bits), host, family);
  const cut = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(entry);
  const name = cut === null ? entry : (cut[1] ?? cut[2] ?? '');
  if (cut?.[3] !== undefined && Number(cut[3]) !== port) return false;
  if (isIP(name) !== 0) return isIn(name, isIP(name) === 4 ? 32 : 128, host, family);
  const domain = name.startsWith('*.') ? name.slice(1) : name;
  if (domain === '') return false;
  return domain.startsWith('.') ? host.endsWith(domain) : host === domain || host.endsWith(`.${domain}`);
}

function isIn(network: string, bits: number, host: string, family: number): boolean {
  const kind = isIP(network);
  if (kind === 0 || kind !== family || !(bits >= 0 && bits <= (kind === 4 ? 32 : 128))) return false;
  const list = new BlockList();
  list.addSubnet(network, bits, kind === 4 ? 'ipv4' : 'ipv6');
  return list.check(host, kind === 4 ? 'ipv4' : 'ipv6');
}
