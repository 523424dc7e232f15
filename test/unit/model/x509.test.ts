import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { der, readDer, readOid } from '../../../src/kit/der.ts';
import { alternativeNames, subjectName } from '../../../src/model/x509/names.ts';
import { readRequest } from '../../../src/model/x509/read-request.ts';
import {
  certificate,
  EXTENDED_KEY_USAGE,
  issuerOf,
  KEY_USAGE,
  keyIdentifierOf,
} from '../../../src/model/x509/write-certificate.ts';
import { certificateRequest } from '../../../src/model/x509/write-request.ts';

const folder = mkdtempSync(join(tmpdir(), 'dh-x509-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const openssl = (args: readonly string[], input?: string): string =>
  execFileSync('openssl', [...args], { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });
const newKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const names = {
  commonName: 'system:node:n1',
  organizations: ['system:nodes'],
  dnsNames: ['n1.example', 'n1'],
  ipAddresses: ['10.1.2.3', '2001:db8::5'],
};

describe('DER', () => {
  it('reads what it writes, whatever the lengths', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 70_000 }), { maxLength: 4 }), (contents) => {
        const written = der.sequence(...contents.map((content) => der.octetString(Buffer.from(content))));
        const [whole, ...more] = readDer(written);
        expect(more).toEqual([]);
        expect(readDer(whole?.content ?? Buffer.alloc(0)).map(({ content }) => [...content])).toEqual(
          contents.map((content) => [...content]),
        );
      }),
      { numRuns: 50 },
    );
  });

  it('throws nothing but its own error for arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          readDer(Buffer.from(bytes));
        } catch (error) {
          expect(error).toMatchObject({ code: 'InvalidObject' });
        }
      }),
    );
  });

  it('spells numbers, identifiers and times as X.690 wants them', () => {
    expect(der.integer(Buffer.of(0, 0, 0x80)).toString('hex')).toBe('02020080');
    expect(der.integer(Buffer.of(0)).toString('hex')).toBe('020100');
    expect(der.oid('1.2.840.113549.1.9.14').toString('hex')).toBe('06092a864886f70d01090e');
    expect(readOid(readDer(der.oid('2.16.840.1.113730.4.1'))[0]?.content ?? Buffer.alloc(0))).toBe(
      '2.16.840.1.113730.4.1',
    );
    expect(der.time(Date.UTC(2049, 11, 31, 23, 59, 59)).toString('latin1')).toContain('491231235959Z');
    expect(der.time(Date.UTC(2050, 0, 1)).toString('latin1')).toContain('20500101000000Z');
    // digitalSignature and keyCertSign: bits 0 and 5, two unused bits at the end.
    expect(der.namedBits([0, 5]).toString('hex')).toBe('03020284');
  });
});

describe('a certificate request', () => {
  it('is one that OpenSSL reads and verifies', () => {
    const text = openssl(['req', '-verify', '-noout', '-text'], certificateRequest(names, newKey()));
    expect(text).toMatch(/Subject: O ?= ?system:nodes, CN ?= ?system:node:n1/);
    expect(text).toContain('DNS:n1.example, DNS:n1, IP Address:10.1.2.3, IP Address:2001:DB8:0:0:0:0:0:5');
    const bare = certificateRequest({ ...names, dnsNames: [], ipAddresses: [] }, newKey());
    expect(openssl(['req', '-verify', '-noout', '-text'], bare)).not.toContain('Alternative Name');
  });

  it('is read with all that matters, ours and those of OpenSSL (EC, RSA, Ed25519)', () => {
    const key = newKey();
    const own = readRequest(certificateRequest(names, key));
    expect(own).toMatchObject({
      commonName: 'system:node:n1',
      organizations: ['system:nodes'],
      dnsNames: ['n1.example', 'n1'],
      emailAddresses: [],
      uris: [],
    });
    expect(own.ipAddresses.map((bytes) => bytes.length)).toEqual([4, 16]);
    expect(own.publicKey).toEqual(createPublicKey(key).export({ type: 'spki', format: 'der' }));
    for (const algorithm of [['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'], ['rsa:2048'], ['ed25519']]) {
      const [kind = '', ...more] = algorithm;
      const text = openssl([
        ...['req', '-new', '-nodes', '-keyout', join(folder, 'k'), '-newkey', kind, ...more],
        ...['-subj', '/O=a/O=b/CN=me', '-addext', 'subjectAltName=email:a@b.c,URI:urn:x,DNS:d'],
      ]);
      expect(readRequest(text), kind).toMatchObject({
        commonName: 'me',
        organizations: ['a', 'b'],
        dnsNames: ['d'],
        emailAddresses: ['a@b.c'],
        uris: ['urn:x'],
      });
    }
  });

  it('is refused when a bit of it was changed, when it is cut off, and when it is something else', () => {
    const text = certificateRequest(names, newKey());
    const body = Buffer.from(text.split('\n').slice(1, -2).join(''), 'base64');
    const wrap = (bytes: Buffer): string =>
      `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    expect(readRequest(wrap(body)).commonName).toBe('system:node:n1');
    for (let at = 0; at < body.length; at++) {
      const changed = Buffer.from(body);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => readRequest(wrap(changed)), String(at)).toThrowError();
    }
    for (const size of [0, 1, 50, body.length - 1]) {
      expect(() => readRequest(wrap(body.subarray(0, size)))).toThrowError();
    }
    expect(() => readRequest(text.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE'))).toThrowError(
      'PEM block type must be CERTIFICATE REQUEST',
    );
  });
});

describe('a certificate', () => {
  const now = Date.UTC(2026, 5, 1);
  const rootKey = newKey();
  const rootName = subjectName({ commonName: 'root', organizations: [] });
  const rootPublic = createPublicKey(rootKey).export({ type: 'spki', format: 'der' });
  const root = certificate(
    {
      subject: rootName,
      publicKey: rootPublic,
      alternativeNames: undefined,
      notBefore: now - 1000,
      notAfter: now + 1e12,
      keyUsages: [KEY_USAGE.digitalSignature, KEY_USAGE.keyCertSign],
      extendedKeyUsages: [],
      isAuthority: true,
    },
    { name: rootName, key: rootKey, keyIdentifier: keyIdentifierOf(rootPublic) },
  );

  it('leads to its authority in the eyes of OpenSSL, and says what it was given', () => {
    const key = newKey();
    const leaf = certificate(
      {
        subject: subjectName(names),
        publicKey: createPublicKey(key).export({ type: 'spki', format: 'der' }),
        alternativeNames: alternativeNames(names),
        notBefore: now - 1000,
        notAfter: now + 3600_000,
        keyUsages: [KEY_USAGE.digitalSignature],
        extendedKeyUsages: [EXTENDED_KEY_USAGE.serverAuth],
        isAuthority: false,
      },
      issuerOf(new X509Certificate(root), rootKey),
    );
    writeFileSync(join(folder, 'root.pem'), root);
    writeFileSync(join(folder, 'leaf.pem'), leaf);
    const at = ['-attime', String(now / 1000), '-x509_strict', '-purpose', 'sslserver'];
    const verified = openssl(['verify', ...at, '-CAfile', join(folder, 'root.pem'), join(folder, 'leaf.pem')]);
    expect(verified).toContain('leaf.pem: OK');
    const read = new X509Certificate(leaf);
    expect(read.checkPrivateKey(key)).toBe(true);
    expect(read.checkIP('2001:db8::5')).toBe('2001:db8::5');
    expect(read.checkHost('n1.example')).toBe('n1.example');
    expect(read.ca).toBe(false);
    expect(new Date(read.validTo).getTime()).toBe(now + 3600_000);
    expect(new X509Certificate(root).ca).toBe(true);
    expect(openssl(['x509', '-noout', '-text'], leaf)).toMatch(/Digital Signature[\s\S]*TLS Web Server Authentication/);
  });
});
