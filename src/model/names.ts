/**
 * The syntax of names, labels and annotations (apimachinery pkg/util/validation). Each function returns what is wrong
 * in the API's words, or undefined.
 */
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const LABEL_1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const ENV_NAME = /^[ -<>-~]+$/;
const CONFIG_KEY = /^[-._a-zA-Z0-9]+$/;
const PORT_NAME_LETTER = /[a-z]/;

/** A DNS label of RFC 1123: at most 63 characters. */
export function dns1123LabelError(text: string): string | undefined {
  if (text.length > 63) return tooLong(63);
  if (LABEL.test(text)) return undefined;
  return regexMessage(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
    ['my-name', '123-abc'],
    LABEL,
  );
}

/** A DNS label of RFC 1035, which starts with a letter: names of Services. */
export function dns1035LabelError(text: string): string | undefined {
  if (text.length > 63) return tooLong(63);
  if (LABEL_1035.test(text)) return undefined;
  return regexMessage(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
    ['my-name', 'abc-123'],
    LABEL_1035,
  );
}

/** A DNS subdomain of RFC 1123: at most 253 characters. */
export function dns1123SubdomainError(text: string): string | undefined {
  if (text.length > 253) return tooLong(253);
  if (SUBDOMAIN.test(text)) return undefined;
  return regexMessage(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
    ['example.com'],
    SUBDOMAIN,
  );
}

/** "name" or "prefix/name": keys of labels and annotations, resource names, condition types. */
export function qualifiedNameError(text: string): string | undefined {
  const parts = text.split('/');
  if (parts.length > 2) {
    return `a qualified name ${qualifiedMessage()} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`;
  }
  const name = parts.at(-1) ?? '';
  const prefix = parts.length === 2 ? parts[0] : undefined;
  if (prefix !== undefined) {
    if (prefix === '') return 'prefix part must be non-empty';
    const error = dns1123SubdomainError(prefix);
    if (error !== undefined) return `prefix part ${error}`;
  }
  if (name === '') return 'name part must be non-empty';
  if (name.length > 63) return `name part ${tooLong(63)}`;
  return QUALIFIED.test(name) ? undefined : `name part ${qualifiedMessage()}`;
}

export function labelValueError(text: string): string | undefined {
  if (text.length > 63) return tooLong(63);
  if (LABEL_VALUE.test(text)) return undefined;
  return regexMessage(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    ['MyValue', 'my_value', '12345'],
    LABEL_VALUE,
  );
}

/** Since 1.34 any printable ASCII but "=" (RelaxedEnvironmentVariableValidation). */
export function envVarNameError(text: string): string | undefined {
  if (ENV_NAME.test(text)) return undefined;
  return "a valid environment variable name must consist only of printable ASCII characters other than '='";
}

/** The key of a ConfigMap or Secret, which becomes a file name. */
export function configKeyError(text: string): string | undefined {
  if (text.length > 253) return tooLong(253);
  if (text === '.') return "must not be '.'";
  if (text === '..') return "must not be '..'";
  if (text.startsWith('..')) return "must not start with '..'";
  if (CONFIG_KEY.test(text)) return undefined;
  return regexMessage(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    ['key.name', 'KEY_NAME', 'key-name'],
    CONFIG_KEY,
  );
}

/** IANA service names: names of container ports, and of ports in probes and targetPort. Several may be wrong at once. */
export function portNameErrors(text: string): string[] {
  const errors: string[] = [];
  if (text.length > 15) errors.push(tooLong(15));
  if (!/^[-a-z0-9]+$/.test(text)) errors.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  if (!PORT_NAME_LETTER.test(text)) errors.push('must contain at least one letter (a-z)');
  if (text.includes('--')) errors.push('must not contain consecutive hyphens');
  if (text.startsWith('-') || text.endsWith('-')) errors.push('must not begin or end with a hyphen');
  return errors;
}

export function portNumberError(port: number): string | undefined {
  return Number.isInteger(port) && port >= 1 && port <= 65_535 ? undefined : 'must be between 1 and 65535, inclusive';
}

function tooLong(limit: number): string {
  return `must be no more than ${limit} characters`;
}

function qualifiedMessage(): string {
  return regexMessage(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    ['MyName', 'my.name', '123-abc'],
    QUALIFIED,
  );
}

function regexMessage(message: string, examples: readonly string[], pattern: RegExp): string {
  const shown = examples.map((example) => `'${example}'`).join(',  or ');
  return `${message} (e.g. ${shown}, regex used for validation is '${pattern.source.replace(/^\^|\$$/g, '')}')`;
}
