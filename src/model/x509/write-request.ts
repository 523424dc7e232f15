import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import { der } from '../../kit/der.ts';
import { alternativeNames, type CertificateNames, extension, OID, pemText, subjectName } from './names.ts';

/** A PKCS #10 request (RFC 2986) in PEM, signed with an EC P-256 key. */
export function certificateRequest(names: CertificateNames, key: KeyObject): string {
  const alternatives = alternativeNames(names);
  const attributes =
    alternatives === undefined
      ? []
      : [
          der.sequence(
            der.oid(OID.extensionRequest),
            der.set(der.sequence(extension(OID.subjectAltName, alternatives))),
          ),
        ];
  const info = der.sequence(
    der.integer(Buffer.of(0)),
    subjectName(names),
    createPublicKey(key).export({ type: 'spki', format: 'der' }),
    der.taggedParts(0, ...attributes),
  );
  const signature = der.bitString(sign('sha256', info, key));
  return pemText('CERTIFICATE REQUEST', der.sequence(info, der.sequence(der.oid(OID.ecdsaWithSha256)), signature));
}
