import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { certificatePair } from '../../../../src/cluster/certificates/certificate-pair.ts';
import { selfSignedFiles } from '../../../../src/cluster/certificates/self-signed.ts';
import { WatchedFiles } from '../../../../src/cluster/certificates/watched-files.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';

const DAY = 86_400_000;
let certDir: string;
let clock: ManualClock;
beforeEach(async () => {
  certDir = await mkdtemp(join(tmpdir(), 'dh-serving-'));
  clock = new ManualClock(Math.floor(Date.now() / 1000) * 1000);
});
afterEach(() => rm(certDir, { recursive: true, force: true }));
const make = (nodeName = 'node-1') => selfSignedFiles({ certDir, nodeName }, { clock, log: silent });

describe('the self-signed serving certificate', () => {
  it('is made once, for its owner alone, and speaks for the node', async () => {
    const { certFile, keyFile } = await make();
    expect([certFile, keyFile]).toEqual([join(certDir, 'kubelet.crt'), join(certDir, 'kubelet.key')]);
    const text = await readFile(certFile, 'utf8');
    const certificate = new X509Certificate(text);
    expect(certificate.checkHost('node-1')).toBe('node-1');
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect((await stat(keyFile)).mode & 0o777).toBe(0o600);
    await clock.advance(300 * DAY);
    await make();
    expect(await readFile(certFile, 'utf8')).toBe(text);
    await clock.advance(70 * DAY);
    await make();
    expect(Date.parse(new X509Certificate(await readFile(certFile)).validTo)).toBeGreaterThan(clock.now() + 300 * DAY);
  });

  it.each([
    ['half a certificate', async () => writeFile(join(certDir, 'kubelet.crt'), '-----BEGIN CERT')],
    [
      'another key',
      async () => {
        const other = await mkdtemp(join(tmpdir(), 'dh-serving-'));
        const { keyFile } = await selfSignedFiles({ certDir: other, nodeName: 'x' }, { clock, log: silent });
        await writeFile(join(certDir, 'kubelet.key'), await readFile(keyFile));
        await rm(other, { recursive: true });
      },
    ],
    ['no key', async () => rm(join(certDir, 'kubelet.key'))],
  ])('is made anew after %s', async (_what, damage) => {
    await make();
    await damage();
    const { certFile, keyFile } = await make();
    expect(() => certificatePair('', '')).toThrowError();
    expect(certificatePair(await readFile(certFile, 'utf8'), await readFile(keyFile, 'utf8')).names.dnsNames).toEqual([
      'node-1',
    ]);
  });
});

describe('files that may be replaced', () => {
  it('are read again when they change; half a change leaves what was', async () => {
    const { certFile, keyFile } = await make();
    const files = new WatchedFiles(
      { paths: [certFile, keyFile], parse: ([cert = '', key = '']) => certificatePair(cert, key), intervalMs: 1000 },
      { clock, log: silent },
    );
    await files.load();
    let told = 0;
    files.subscribe(() => told++);
    const stop = new AbortController();
    const done = files.run(stop.signal);
    const pass = async (): Promise<void> => {
      await clock.advance(1000);
      await new Promise((resolve) => setTimeout(resolve, 20));
    };
    const first = files.current();
    await pass();
    expect(told).toBe(0);
    const next = await mkdtemp(join(tmpdir(), 'dh-serving-'));
    const other = await selfSignedFiles({ certDir: next, nodeName: 'node-2' }, { clock, log: silent });
    await writeFile(certFile, await readFile(other.certFile));
    await pass();
    expect(files.current()).toBe(first);
    await writeFile(keyFile, await readFile(other.keyFile));
    await pass();
    expect(told).toBe(1);
    expect(files.current()?.names.dnsNames).toEqual(['node-2']);
    await rm(next, { recursive: true });
    stop.abort();
    await done;
  });

  it('say at the start what is wrong with them', async () => {
    const files = new WatchedFiles({ paths: [join(certDir, 'gone')], parse: ([text]) => text }, { clock, log: silent });
    await expect(files.load()).rejects.toMatchObject({ code: 'InvalidConfig' });
  });
});
