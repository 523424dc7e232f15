import { isDeepStrictEqual } from 'node:util';
import { messageOf } from '../../kit/errors.ts';
import {
  type CertificateSigningRequest,
  type CertificateSigningRequestCondition,
  SIGNERS,
} from '../../model/certificates.ts';
import { dns1123LabelError, dns1123SubdomainError } from '../../model/names.ts';
import { resources } from '../../model/resource.ts';
import { rfc3339 } from '../../model/time.ts';
import type { Identity } from '../http/identity.ts';
import { forbidden as forbiddenError } from '../http/status-error.ts';
import type { FieldError } from '../port.ts';
import { duplicate, forbidden, invalid, notSupported, required } from '../validation/field-errors.ts';
import { KNOWN_USAGES, requestOf } from './signers.ts';

const VERDICTS = ['Approved', 'Denied'] as const;
const TRUE_ONLY: readonly string[] = [...VERDICTS, 'Failed'];

/**
 * What the API server writes into a new request: who makes it, and no status (registry/certificates PrepareForCreate).
 * Throws Forbidden for a client certificate of system:masters (CertificateSubjectRestriction).
 */
export function preparedSigningRequest(
  csr: CertificateSigningRequest,
  { username, uid, groups, extra }: Identity,
): CertificateSigningRequest {
  refuseMasters(csr);
  const { username: _name, uid: _uid, groups: _groups, extra: _extra, ...spec } = csr.spec ?? {};
  return {
    ...csr,
    spec: {
      ...spec,
      username,
      ...(uid === undefined ? {} : { uid }),
      groups: [...groups],
      ...(extra === undefined ? {} : { extra: { ...extra } }),
    },
    status: {},
  };
}

/** A request itself never changes; /approval changes its conditions, /status all but the verdict. */
export function updatedSigningRequest(
  current: CertificateSigningRequest,
  next: CertificateSigningRequest,
  subresource: string | undefined,
  now: number,
): CertificateSigningRequest {
  const { spec, status = {} } = current;
  if (subresource === 'approval') {
    const { conditions: _before, ...rest } = status;
    return { ...next, spec, status: { ...rest, ...timedConditions(next, current, now) } };
  }
  if (subresource === 'status') {
    const known = status.conditions ?? [];
    const kept = (next.status?.conditions ?? []).map((condition) => {
      const isVerdict = VERDICTS.some((type) => type === condition.type);
      return (isVerdict ? known.find(({ type }) => type === condition.type) : undefined) ?? condition;
    });
    const wanted = { ...next, status: { ...next.status, conditions: kept } };
    const { conditions: _theirs, ...rest } = next.status ?? {};
    return { ...next, spec, status: { ...rest, ...timedConditions(wanted, current, now) } };
  }
  return { ...next, spec, status };
}

/** ValidateCertificateSigningRequestCreate, …Update, …StatusUpdate and …ApprovalUpdate. */
export function validateSigningRequest(
  csr: CertificateSigningRequest,
  previous: CertificateSigningRequest | undefined,
  subresource: string | undefined,
): FieldError[] {
  return [
    ...specErrors(csr),
    ...conditionErrors(csr.status?.conditions ?? []),
    ...(previous === undefined ? [] : changeErrors(csr, previous, subresource)),
  ];
}

function specErrors(csr: CertificateSigningRequest): FieldError[] {
  // What has the wrong type was found before; a missing spec is told field by field.
  const { signerName = '', usages = [], expirationSeconds, request = '' } = csr.spec ?? {};
  const errors: FieldError[] = [];
  try {
    requestOf(request);
  } catch (error) {
    errors.push(invalid('spec.request', request, messageOf(error)));
  }
  if (usages.length === 0) errors.push(required('spec.usages'));
  for (const [index, usage] of usages.entries()) {
    const field = `spec.usages[${index}]`;
    if (!KNOWN_USAGES.includes(usage)) errors.push(notSupported(field, usage, KNOWN_USAGES));
    if (usages.indexOf(usage) !== index) errors.push(duplicate(field, usage));
  }
  const [domain = '', ...path] = signerName.split('/');
  if (signerName === '') errors.push(required('spec.signerName'));
  else if (signerName === 'kubernetes.io/legacy-unknown') {
    errors.push(invalid('spec.signerName', signerName, 'the legacy signerName is not allowed via this API version'));
  } else if (path.length !== 1 || !domain.includes('.') || dns1123SubdomainError(domain) !== undefined) {
    const expected = 'must be a fully qualified domain and path of the form "example.com/signer-name"';
    errors.push(invalid('spec.signerName', signerName, expected));
  } else {
    const wrong = path[0]
      ?.split('.')
      .map(dns1123LabelError)
      .find((error) => error !== undefined);
    if (wrong !== undefined) errors.push(invalid('spec.signerName', signerName, `validating label: ${wrong}`));
  }
  if (expirationSeconds !== undefined && expirationSeconds < 600) {
    const expected = 'may not specify a duration less than 600 seconds (10 minutes)';
    errors.push(invalid('spec.expirationSeconds', expirationSeconds, expected));
  }
  return errors;
}

function conditionErrors(conditions: readonly CertificateSigningRequestCondition[]): FieldError[] {
  const errors: FieldError[] = [];
  const types = conditions.map(({ type }) => type);
  for (const [index, { type, status }] of conditions.entries()) {
    const field = `status.conditions[${index}]`;
    const allowed = TRUE_ONLY.includes(type) ? ['True'] : ['False', 'True', 'Unknown'];
    if (!type) errors.push(required(`${field}.type`));
    if (!status) errors.push(required(`${field}.status`));
    else if (!allowed.includes(status)) errors.push(notSupported(`${field}.status`, status, allowed));
    if (types.indexOf(type) !== index) errors.push(duplicate(`${field}.type`, type));
  }
  const last = conditions.findLast(({ type }) => VERDICTS.some((verdict) => verdict === type));
  if (last !== undefined && VERDICTS.every((verdict) => types.includes(verdict))) {
    const message = 'Approved and Denied conditions are mutually exclusive';
    errors.push(invalid('status.conditions', last.type, message));
  }
  return errors;
}

function changeErrors(
  csr: CertificateSigningRequest,
  previous: CertificateSigningRequest,
  subresource: string | undefined,
): FieldError[] {
  const errors: FieldError[] = [];
  const of = (object: CertificateSigningRequest, wanted: string): CertificateSigningRequestCondition[] =>
    (object.status?.conditions ?? []).filter(({ type }) => type === wanted);
  for (const type of TRUE_ONLY) {
    const [before, after] = [of(previous, type), of(csr, type)];
    const verb = after.length < before.length ? 'remove' : undefined;
    if (verb !== undefined) {
      errors.push(forbidden('status.conditions', `updates may not remove a condition of type "${type}"`));
    } else if (type !== 'Failed' && subresource !== 'approval' && !isDeepStrictEqual(before, after)) {
      const what = after.length > before.length ? 'add' : 'modify';
      errors.push(forbidden('status.conditions', `updates may not ${what} a condition of type "${type}"`));
    }
  }
  const [before = '', after = ''] = [previous.status?.certificate, csr.status?.certificate];
  if (before !== after) {
    if (subresource !== 'status')
      errors.push(forbidden('status.certificate', 'updates may not set certificate content'));
    else if (before !== '') {
      errors.push(forbidden('status.certificate', 'updates may not modify existing certificate content'));
    }
  }
  return errors;
}

/** lastUpdateTime and lastTransitionTime where the writer left them out. */
function timedConditions(
  next: CertificateSigningRequest,
  current: CertificateSigningRequest,
  now: number,
): { conditions?: CertificateSigningRequestCondition[] } {
  const conditions = next.status?.conditions ?? [];
  if (conditions.length === 0) return {};
  const time = rfc3339(now);
  return {
    conditions: conditions.map((condition) => {
      const before = current.status?.conditions?.find(
        ({ type, status }) => type === condition.type && status === condition.status,
      );
      return {
        ...condition,
        lastUpdateTime: condition.lastUpdateTime ?? time,
        lastTransitionTime: condition.lastTransitionTime ?? before?.lastTransitionTime ?? time,
      };
    }),
  };
}

function refuseMasters(csr: CertificateSigningRequest): void {
  if (csr.spec?.signerName !== SIGNERS.apiClient) return;
  let organizations: readonly string[];
  try {
    organizations = requestOf(csr.spec.request).organizations;
  } catch {
    // Validation says what is wrong with it.
    return;
  }
  if (!organizations.includes('system:masters')) return;
  throw forbiddenError(
    resources.certificatesigningrequests,
    csr.metadata.name ?? '',
    `use of ${SIGNERS.apiClient} signer with system:masters group is not allowed`,
  );
}
