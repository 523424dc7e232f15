import { CodedError } from '../../kit/errors.ts';
import type { Field, LeafType, ObjectSchema, Schema } from './port.ts';

/**
 * The notation of definitions/*.ts, one definition a type:
 *
 *   @prefix                     the package in OpenAPI names of the definitions that follow
 *   Name atomic retainKeys {    flags of the type
 *     field!:type options       `!` required; fields end at `;` or the line's end
 *     ...Other                  all fields of another type
 *   }
 *
 * Types: a leaf (string, int32, quantity …), another definition's name, [item] for a list, <value> for a map with any
 * keys; a leaf may name its values: string(TCP|UDP). Options: `patch=key` strategic merge by that key, `patch` alone
 * by value; `keys=a,b` apply's listType map, `set` its listType set; `atomic` on maps; `granular` undoes a type's
 * `atomic`; `=TEXT` the value of an absent field (may be empty).
 */
export interface Definition {
  readonly name: string;
  readonly fullName: string;
  readonly flags: ReadonlySet<string>;
  readonly body: string;
}

const DEFINITION = /^(\w+)([\w ]*)\{([^}]*)\}/;
const FIELD = /^(\w+)(!?):(\S+)(.*)$/;
const LEAVES: ReadonlySet<string> = new Set<LeafType>([
  'string',
  'boolean',
  'int32',
  'int64',
  'number',
  'quantity',
  'intOrString',
  'time',
  'microTime',
  'bytes',
  'json',
  'any',
]);

/** Finds the definitions of a text; their bodies are read by `parseFields`, when a type is first asked for. */
export function* findDefinitions(text: string): Generator<Definition> {
  let prefix = '';
  let rest = text.trimStart();
  while (rest !== '') {
    const directive = /^@(\S+)\s*/.exec(rest);
    if (directive !== null) {
      prefix = directive[1] ?? '';
      rest = rest.slice(directive[0].length);
      continue;
    }
    const match = DEFINITION.exec(rest);
    if (match === null)
      throw new CodedError('Internal', `schema: no definition at ${JSON.stringify(rest.slice(0, 60))}`);
    const [whole, name = '', flags = '', body = ''] = match;
    yield { name, fullName: `${prefix}.${name}`, flags: new Set(flags.split(' ').filter((flag) => flag !== '')), body };
    rest = rest.slice(whole.length).trimStart();
  }
}

/** The fields of a definition's body; `lookup` gives other definitions. Throws Internal on bad notation. */
export function parseFields(body: string, lookup: (name: string) => ObjectSchema): ReadonlyMap<string, Field> {
  const fields = new Map<string, Field>();
  for (const part of body.split(/[;\n]/)) {
    const text = part.trim();
    if (text === '') continue;
    if (text.startsWith('...')) {
      for (const [name, field] of lookup(text.slice(3)).fields) fields.set(name, field);
      continue;
    }
    const match = FIELD.exec(text);
    if (match === null) throw new CodedError('Internal', `schema: ${JSON.stringify(text)} is not a field`);
    const [, name = '', bang, type = '', optionText = ''] = match;
    const options = optionText.split(' ').filter((option) => option !== '');
    const preset = options.find((option) => option.startsWith('='))?.slice(1);
    fields.set(name, { name, schema: parseType(type, options, lookup), required: bang === '!', preset });
  }
  return fields;
}

function parseType(text: string, options: readonly string[], lookup: (name: string) => ObjectSchema): Schema {
  if (text.startsWith('[')) {
    const keys = options.find((option) => option.startsWith('keys='))?.slice('keys='.length);
    const patch = options.find((option) => option === 'patch' || option.startsWith('patch='));
    return {
      kind: 'list',
      item: parseType(text.slice(1, -1), [], lookup),
      patch: patch === undefined ? 'replace' : 'merge',
      patchKey: patch?.split('=')[1],
      listType: keys !== undefined ? 'map' : options.includes('set') ? 'set' : 'atomic',
      keys: keys?.split(',') ?? [],
    };
  }
  if (text.startsWith('<')) {
    return { kind: 'map', value: parseType(text.slice(1, -1), [], lookup), atomic: options.includes('atomic') };
  }
  const [name = '', values] = text.split('(');
  if (LEAVES.has(name)) {
    return { kind: 'leaf', type: name as LeafType, values: values?.slice(0, -1).split('|') };
  }
  const schema = lookup(name);
  return options.includes('granular') ? { ...schema, atomic: false } : schema;
}
