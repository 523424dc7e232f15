import type { Identity } from './identity.ts';
import { badRequest } from './status-error.ts';

/** The query of a create, update, patch or delete. */
export interface WriteOptions {
  readonly dryRun: boolean;
  /** Who writes, for managedFields; the first word of the user agent when the query does not say. */
  readonly fieldManager: string;
  readonly fieldValidation: 'Ignore' | 'Warn' | 'Strict';
  /** Who asks, where the object is to say so (certificate requests). */
  readonly identity?: Identity;
  /** Of server-side apply. */
  readonly force: boolean;
}

const VALIDATIONS = ['Ignore', 'Warn', 'Strict'] as const;
const MAX_FIELD_MANAGER = 128;

export function parseWriteOptions(query: URLSearchParams, userAgent: string | undefined): WriteOptions {
  const dryRun = query.getAll('dryRun').filter((value) => value !== '');
  if (dryRun.some((value) => value !== 'All')) {
    throw badRequest(`dryRun: Unsupported value: ${JSON.stringify(dryRun)}: supported values: "All"`);
  }
  const wanted = query.get('fieldValidation');
  const fieldValidation = wanted === null || wanted === '' ? 'Warn' : VALIDATIONS.find((value) => value === wanted);
  if (fieldValidation === undefined) {
    throw badRequest(
      `fieldValidation: Unsupported value: ${JSON.stringify(wanted)}: supported values: "Ignore", "Strict", "Warn"`,
    );
  }
  const named = query.get('fieldManager');
  const fieldManager = named !== null && named !== '' ? named : ((userAgent ?? '').split('/')[0] ?? '');
  if (fieldManager.length > MAX_FIELD_MANAGER) {
    throw badRequest(`fieldManager: Too long: may not be more than ${MAX_FIELD_MANAGER} bytes`);
  }
  return {
    dryRun: dryRun.length > 0,
    fieldManager: fieldManager === '' ? 'unknown' : fieldManager,
    fieldValidation,
    force: query.get('force') === 'true',
  };
}
