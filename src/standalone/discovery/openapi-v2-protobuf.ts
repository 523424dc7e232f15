/**
 * GET /openapi/v2 as kubectl before 1.27 wants it: a gnostic Document in protobuf. It has a version and no definitions,
 * which such a kubectl takes for "nothing to check against".
 */
export function openApiV2Protobuf(version: string): Buffer {
  const info = Buffer.concat([field(1, Buffer.from('Kubernetes')), field(2, Buffer.from(version))]);
  return Buffer.concat([field(1, Buffer.from('2.0')), field(2, info), field(8, Buffer.alloc(0))]);
}

/** A length-delimited field; lengths here fit in one byte. */
function field(number: number, data: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | 2, data.length]), data]);
}
