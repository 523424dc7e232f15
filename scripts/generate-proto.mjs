#!/usr/bin/env node
// Generates src/host/*/generated/ from proto/, a set of services at a time, so that what a node does not use is not
// loaded: encoders for what deckhand sends (requests.js), decoders for what it receives (responses.js), the calls that
// join them (services.js), and their types. One direction per message halves the code. Does nothing when the outputs are
// newer than proto/ and this file; --force overrides that.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const protoDir = join(root, 'proto');
const outputs = ['requests.js', 'requests.d.ts', 'responses.js', 'responses.d.ts', 'services.js', 'services.d.ts'];

const targets = [
  {
    folders: ['containerd', 'cri', 'grpc'],
    outDir: join(root, 'src', 'host', 'cri', 'generated'),
    // Decoded from inside google.protobuf.Any, so no call names them.
    payloads: ['TaskStart', 'TaskExit', 'TaskOOM', 'ContainerCreate', 'ContainerDelete'].map(
      (name) => `containerd.events.${name}`,
    ),
  },
  {
    folders: ['csi', 'pluginregistration'],
    outDir: join(root, 'src', 'host', 'csi', 'generated'),
    payloads: [],
  },
  {
    folders: ['deviceplugin'],
    outDir: join(root, 'src', 'host', 'devices', 'generated'),
    serves: ['Registration'],
    payloads: ['v1beta1.ContainerAllocateResponse'],
    sentPayloads: ['v1beta1.ContainerAllocateResponse'],
  },
  {
    folders: ['podresources'],
    outDir: join(root, 'src', 'host', 'pod-resources', 'generated'),
    serves: ['PodResourcesLister'],
    payloads: [],
  },
];

/** The .proto files of a folder. */
const protosIn = (folder) =>
  readdirSync(join(protoDir, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.proto'))
    .sort()
    .map((name) => join(protoDir, folder, name));
const modified = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
const folders = targets.flatMap((target) => target.folders);
const newestInput = Math.max(
  ...[...folders.flatMap(protosIn), ...folders.map((folder) => join(protoDir, folder))].map(modified),
  modified(fileURLToPath(import.meta.url)),
);
const oldestOutput = Math.min(...targets.flatMap(({ outDir }) => outputs.map((name) => modified(join(outDir, name)))));
if (oldestOutput > newestInput && !process.argv.includes('--force')) process.exit(0);

// Loaded only now: the skip above should cost nothing.
const require = createRequire(import.meta.url);
const protobuf = require('protobufjs');
const pbjs = require('protobufjs-cli/pbjs');

/** `serves`: services that deckhand answers; `payloads`, `sentPayloads`: messages that no call names, to read and to write. */
async function generate({ folders, outDir, payloads, serves = [], sentPayloads = [] }) {
  const schema = new protobuf.Root();
  schema.loadSync(folders.flatMap(protosIn));
  schema.resolveAll();

  /** Every service of the schema with its calls. */
  const services = [];
  const collectServices = (namespace) => {
    for (const nested of namespace.nestedArray) {
      if (nested instanceof protobuf.Service) services.push(nested);
      else if (nested instanceof protobuf.Namespace) collectServices(nested);
    }
  };
  collectServices(schema);
  const methods = services.flatMap((service) => service.methodsArray);

  const fullName = (type) => type.fullName.replace(/^\./, '');
  /** The named types and all that they contain. */
  const closure = (types) => {
    const seen = new Set();
    const visit = (type) => {
      if (seen.has(type)) return;
      seen.add(type);
      for (const field of type.fieldsArray) if (field.resolvedType instanceof protobuf.Type) visit(field.resolvedType);
    };
    types.forEach(visit);
    return [...seen].sort((a, b) => (fullName(a) < fullName(b) ? -1 : 1));
  };
  const isServed = (method) => serves.includes(method.parent.name);
  const sentBy = (method) => (isServed(method) ? method.resolvedResponseType : method.resolvedRequestType);
  const heardBy = (method) => (isServed(method) ? method.resolvedRequestType : method.resolvedResponseType);
  const requestTypes = closure([...methods.map(sentBy), ...sentPayloads.map((name) => schema.lookupType(name))]);
  const responseTypes = closure([...methods.map(heardBy), ...payloads.map((name) => schema.lookupType(name))]);

  const temporary = mkdtempSync(join(tmpdir(), 'deckhand-proto-'));
  /** A type's descriptor with its enums as the int32 that they are on the wire, which saves their tables. */
  const withoutEnums = (type) => {
    const { nested, ...json } = type.toJSON();
    for (const field of type.fieldsArray) {
      if (field.resolvedType instanceof protobuf.Enum) json.fields[field.name].type = 'int32';
    }
    return json;
  };
  /** The schema as a JSON descriptor with only these types in it. pbjs --filter keeps far more than it is asked to. */
  const descriptor = (types) => {
    const keep = new Set(types);
    const prune = (namespace) => {
      const nested = {};
      for (const child of namespace.nestedArray) {
        if (child instanceof protobuf.Type) {
          if (keep.has(child)) nested[child.name] = withoutEnums(child);
        } else if (child instanceof protobuf.Namespace && !(child instanceof protobuf.Service)) {
          const inner = prune(child);
          if (Object.keys(inner.nested).length > 0) nested[child.name] = inner;
        }
      }
      return { nested };
    };
    return prune(schema);
  };
  const staticModule = (rootName, types, direction) => {
    const pruned = join(temporary, `${rootName}.json`);
    writeFileSync(pruned, JSON.stringify(descriptor(types)));
    const without = ['create', 'verify', 'convert', 'delimited', 'typeurl', 'service', 'comments', direction];
    const args = [
      '-t',
      'static-module',
      '-w',
      'es6',
      '--dependency',
      'protobufjs/minimal.js',
      '-r',
      rootName,
      '--force-long',
      pruned,
    ];
    return new Promise((resolve, reject) => {
      pbjs.main([...args, ...without.map((name) => `--no-${name}`)], (error, code) => {
        // protobufjs is CommonJS, whose names Node finds on the default import only.
        if (error) reject(error);
        else resolve(code.replace('import * as $protobuf from', 'import $protobuf from'));
      });
    });
  };

  const scalars = {
    string: 'string',
    bool: 'boolean',
    bytes: 'Uint8Array',
    double: 'number',
    int32: 'number',
    uint32: 'number',
    int64: 'Long',
    uint64: 'Long',
  };
  /** The TypeScript type of one value of a field. Requests take plain numbers for 64 bits; decoders give Long. */
  const valueType = (field, sent) => {
    if (field.resolvedType instanceof protobuf.Type) return field.resolvedType.name;
    if (field.resolvedType instanceof protobuf.Enum) return 'number';
    const scalar = scalars[field.type];
    if (scalar === undefined) throw new Error(`${field.fullName}: no TypeScript type for ${field.type}`);
    return sent && scalar === 'Long' ? 'number' : scalar;
  };
  const fieldLine = (field, sent) => {
    const value = valueType(field, sent);
    const name = field.name;
    if (field.map)
      return `  ${name}${sent ? '?' : ''}: ${sent ? 'Readonly<' : ''}Record<string, ${value}>${sent ? '>' : ''};`;
    if (field.repeated) return `  ${name}${sent ? '?' : ''}: ${sent ? 'readonly ' : ''}${value}[];`;
    if (sent) return `  ${name}?: ${value} | undefined;`;
    return `  ${name}: ${value}${field.resolvedType instanceof protobuf.Type ? ' | null' : ''};`;
  };
  const declarations = (types, sent) =>
    [
      '// Generated by scripts/generate-proto.mjs. Do not edit.',
      ...(sent ? [] : ["import type Long from 'long';"]),
      ...types.map((type) =>
        type.fieldsArray.length === 0
          ? `export type ${type.name} = Record<string, never>;`
          : `export interface ${type.name} {\n${type.fieldsArray.map((field) => fieldLine(field, sent)).join('\n')}\n}`,
      ),
      '',
    ].join('\n');

  const reachable = (module, type) => `${module}.${fullName(type)}`;
  const methodSource = (service, method) => {
    const path = `/${fullName(service)}/${method.name}`;
    const request = reachable('requests', sentBy(method));
    const response = reachable('responses', heardBy(method));
    return `  ${method.name}: {
    path: '${path}',${method.responseStream ? '\n    stream: true,' : ''}
    encode: (message) => ${request}.encode(message).finish(),
    decode: (bytes) => ${response}.decode(bytes),
  },`;
  };
  const serviceSource = [
    '// Generated by scripts/generate-proto.mjs. Do not edit.',
    "import * as requests from './requests.js';",
    "import * as responses from './responses.js';",
    ...services.map(
      (service) =>
        `export const ${service.name} = {\n${service.methodsArray.map((m) => methodSource(service, m)).join('\n')}\n};`,
    ),
    'export const payloads = {',
    ...payloads.map((name) => `  '${name}': (bytes) => responses.${name}.decode(bytes),`),
    '};',
    'export const sentPayloads = {',
    ...sentPayloads.map((name) => `  '${name}': (message) => requests.${name}.encode(message).finish(),`),
    '};',
    '',
  ].join('\n');
  const serviceTypes = [
    '// Generated by scripts/generate-proto.mjs. Do not edit.',
    "import type * as requests from './requests.js';",
    "import type * as responses from './responses.js';",
    `/**
 * One call: its path, how to write what deckhand sends and to read (each of) what it hears: request and response(s), or
 * for services that deckhand serves the other way round.
 */
export interface Method<Request, Response> {
  readonly path: string;
  readonly stream?: false;
  readonly encode: (message: Request) => Buffer;
  readonly decode: (bytes: Uint8Array) => Response;
}
/** A call that is answered by a stream of responses. */
export interface StreamMethod<Request, Response> extends Omit<Method<Request, Response>, 'stream'> {
  readonly stream: true;
}`,
    ...services.map(
      (service) =>
        `export const ${service.name}: {\n${service.methodsArray
          .map(
            (m) =>
              `  readonly ${m.name}: ${m.responseStream ? 'StreamMethod' : 'Method'}<requests.${sentBy(m).name}, responses.${heardBy(m).name}>;`,
          )
          .join('\n')}\n};`,
    ),
    '/** Decoders of what a google.protobuf.Any holds, by message name. */',
    'export const payloads: {',
    ...payloads.map((name) => `  readonly '${name}': (bytes: Uint8Array) => responses.${name.split('.').at(-1)};`),
    '};',
    '/** Encoders of messages that are kept, by message name. */',
    'export const sentPayloads: {',
    ...sentPayloads.map((name) => `  readonly '${name}': (message: requests.${name.split('.').at(-1)}) => Buffer;`),
    '};',
    '',
  ].join('\n');

  const duplicate = [requestTypes, responseTypes].flatMap((types) =>
    types.map((type) => type.name).filter((name, at, names) => names.indexOf(name) !== at),
  );
  if (duplicate.length > 0) throw new Error(`two messages share a name: ${duplicate.join(', ')}`);

  // Modules of one name would share one tree of messages.
  const setName = `deckhand-${folders[0]}`;
  try {
    const [requests, responses] = [
      await staticModule(`${setName}-requests`, requestTypes, 'decode'),
      await staticModule(`${setName}-responses`, responseTypes, 'encode'),
    ];
    mkdirSync(outDir, { recursive: true });
    const files = {
      'requests.js': requests,
      'requests.d.ts': declarations(requestTypes, true),
      'responses.js': responses,
      'responses.d.ts': declarations(responseTypes, false),
      'services.js': serviceSource,
      'services.d.ts': serviceTypes,
    };
    for (const name of outputs) writeFileSync(join(outDir, name), files[name]);
    const size = outputs.reduce((sum, name) => sum + readFileSync(join(outDir, name)).length, 0);
    console.log(`generated ${methods.length} calls of ${services.length} services (${Math.round(size / 1024)} KiB)`);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

for (const target of targets) await generate(target);
