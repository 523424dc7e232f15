import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Credentials } from '../../../../src/standalone/certificates/credentials.ts';
import { newPrivateKey } from '../../../../src/standalone/certificates/key-pair.ts';
import { TokenSigner } from '../../../../src/standalone/certificates/token-signer.ts';

const DAY = 86_400_000;
let folder: string;
let clock: ManualClock;

beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'dhapi-pki-')), 'pki');
  clock = new ManualClock(Date.now());
});
afterEach(() => rm(join(folder, '..'), { recursive: true, force: true }));

const load = (serverNames: string[] = []): Promise<Credentials> => Credentials.load({ folder, serverNames }, { clock });

describe('credentials', () => {
  it('are made once, for their owner alone', async () => {
    const first = await load(['10.1.2.3', 'box.example']);
    const server = await first.server();
    const certificate = new X509Certificate(server.certificate);
    const authority = new X509Certificate(first.authority.pair.certificate);
    expect(certificate.verify(authority.publicKey)).toBe(true);
    expect(authority.ca).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1');
    expect(certificate.checkIP('10.1.2.3')).toBe('10.1.2.3');
    expect(certificate.checkHost('kubernetes.default.svc')).toBe('kubernetes.default.svc');
    expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    const admin = new X509Certificate((await first.admin()).certificate);
    expect(admin.subject.split('\n')).toEqual(['O=system:masters', 'CN=kubernetes-admin']);
    for (const name of ['ca.key', 'apiserver.key', 'service-account.key', 'node.token']) {
      expect((await stat(join(folder, name))).mode & 0o777, name).toBe(0o600);
    }
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    const second = await load(['10.1.2.3', 'box.example']);
    expect(await second.server()).toEqual(server);
    expect(second.nodeToken).toBe(first.nodeToken);
    expect(second.tokenKey).toBe(first.tokenKey);
  });

  it('are renewed before they expire, for new names, and when a crash left half of a pair', async () => {
    const first = await (await load()).server();
    expect(await (await load()).server()).toEqual(first);
    const named = await (await load(['new.example'])).server();
    expect(named).not.toEqual(first);
    await clock.advance(280 * DAY);
    expect(await (await load(['new.example'])).server()).toEqual(named);
    await clock.advance(15 * DAY);
    const renewed = await (await load(['new.example'])).server();
    expect(Date.parse(new X509Certificate(renewed.certificate).validTo)).toBeGreaterThan(clock.now() + 300 * DAY);
    await writeFile(join(folder, 'apiserver.key'), await newPrivateKey());
    const mended = await (await load(['new.example'])).server();
    expect(mended).not.toEqual(renewed);
    expect(await readFile(join(folder, 'apiserver.key'), 'utf8')).toBe(mended.key);
  });
});

describe('service account tokens', () => {
  it('are good until they expire, and from their issuer only', async () => {
    const privateKey = await newPrivateKey();
    const signer = new TokenSigner({ issuer: 'https://one', privateKey }, { clock });
    const { token, expiresAt } = signer.issue({
      namespace: 'ns',
      serviceAccount: { name: 'sa', uid: 'u' },
      audiences: ['aud'],
      expirationSeconds: 600,
    });
    expect(signer.verify(token)).toMatchObject({
      sub: 'system:serviceaccount:ns:sa',
      namespace: 'ns',
      uid: 'u',
      aud: ['aud'],
    });
    expect(Math.abs(expiresAt - clock.now() - 600_000)).toBeLessThanOrEqual(1_000);
    const other = new TokenSigner({ issuer: 'https://two', privateKey }, { clock });
    expect(other.verify(token)).toBeUndefined();
    const stranger = new TokenSigner({ issuer: 'https://one', privateKey: await newPrivateKey() }, { clock });
    expect(stranger.verify(token)).toBeUndefined();
    const [header, payload, signature] = token.split('.');
    const claims = JSON.parse(Buffer.from(payload ?? '', 'base64url').toString());
    const raised = Buffer.from(JSON.stringify({ ...claims, sub: 'system:serviceaccount:kube-system:root' })).toString(
      'base64url',
    );
    expect(signer.verify(`${header}.${raised}.${signature}`)).toBeUndefined();
    for (const junk of ['', 'a', 'a.b.c', `${token}.x`]) expect(signer.verify(junk)).toBeUndefined();
    await clock.advance(601_000);
    expect(signer.verify(token)).toBeUndefined();
  });
});
