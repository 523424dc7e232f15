import { posix } from 'node:path';

/** One import, export-from or import() of a source file. */
export interface ImportStatement {
  readonly specifier: string;
  /** Erased by the compiler: types only. */
  readonly typeOnly: boolean;
  readonly line: number;
}

export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly why: string;
}

/**
 * Who may import whom (docs/design.md, "Rooms"). Every room may import itself. `ports` stands for the port.ts files of a
 * room: its interfaces, without the code behind them.
 */
const ALLOWED: Readonly<Record<string, { readonly rooms: readonly string[]; readonly ports: readonly string[] }>> = {
  'main.ts': { rooms: ['commands', 'kit'], ports: [] },
  commands: { rooms: ['daemon.ts', 'config', 'kit'], ports: [] },
  kit: { rooms: [], ports: [] },
  model: { rooms: ['kit'], ports: [] },
  config: { rooms: ['kit', 'model'], ports: [] },
  host: { rooms: ['kit', 'model'], ports: [] },
  cluster: { rooms: ['kit', 'model', 'config'], ports: [] },
  standalone: { rooms: ['kit', 'model'], ports: [] },
  pods: { rooms: ['kit', 'model'], ports: ['cluster', 'host'] },
  services: { rooms: ['kit', 'model'], ports: ['cluster', 'host'] },
  node: { rooms: ['kit', 'model', 'cluster'], ports: ['host'] },
  api: { rooms: ['kit', 'model', 'config'], ports: ['cluster', 'host'] },
};

/** The composition root, daemon.ts and the files that it is split into: it alone imports every room. */
const COMPOSITION_ROOT: ReadonlySet<string> = new Set(['daemon.ts', 'daemon']);

/** Rooms that never see each other, not even as types. */
const STRANGERS: readonly (readonly [string, string])[] = [['pods', 'services']];

/** Folders whose code decides and does nothing else. */
const DECIDING = /^(?:[^/]+\/)*diff\/|^services\/(?:policy|render|delta)\//;

/** Clocks, chance and waiting, none of which deciding code may use. */
const IMPURE =
  /\b(?:Date\.now|performance\.now|Math\.random|setTimeout|setInterval|setImmediate|Promise|async|await)\b|new Date\(\)/;

// Comments and the text of strings are blanked, line breaks kept; what follows "from" or "import(" stays readable.
function withoutComments(source: string): string {
  const token = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g;
  return source.replace(token, (text) => (text.startsWith('/') ? text.replace(/[^\n]/g, ' ') : text));
}

function withoutStrings(source: string): string {
  return withoutComments(source).replace(/'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g, (text) =>
    text.replace(/[^\n]/g, ' '),
  );
}

export function importsOf(source: string): ImportStatement[] {
  const text = withoutComments(source);
  const found: ImportStatement[] = [];
  const lineAt = (index: number): number => text.slice(0, index).split('\n').length;
  const statement = /^[ \t]*(?:import|export)\s+(?:(type)\s+)?([\w$*\s{},]*?)\s*from\s*['"]([^'"]+)['"]/gm;
  for (const match of text.matchAll(statement)) {
    const clause = match[2] ?? '';
    const named = /^\{([\s\S]*)\}$/.exec(clause.trim())?.[1];
    const names = named?.split(',').filter((name) => name.trim() !== '') ?? [];
    const allTypes = names.length > 0 && names.every((name) => /^\s*type\s/.test(name));
    found.push({ specifier: match[3] ?? '', typeOnly: match[1] === 'type' || allTypes, line: lineAt(match.index) });
  }
  for (const match of text.matchAll(/^[ \t]*import\s*['"]([^'"]+)['"]/gm)) {
    found.push({ specifier: match[1] ?? '', typeOnly: false, line: lineAt(match.index) });
  }
  // Both a lazy import and the type query import('…').Name; the latter is rare enough to be held to the same rule.
  const code = withoutStrings(source);
  for (const match of text.matchAll(/\bimport\s*\(\s*['"]([^'"]+)['"]/g)) {
    if (!code.startsWith('import', match.index)) continue;
    found.push({ specifier: match[1] ?? '', typeOnly: false, line: lineAt(match.index) });
  }
  return found.sort((a, b) => a.line - b.line);
}

const roomOf = (file: string): string => file.split('/')[0] ?? file;

/** Checks one file. `file` is relative to src/, with slashes. */
export function checkImports(file: string, source: string): Violation[] {
  const violations: Violation[] = [];
  const room = roomOf(file);
  const deciding = DECIDING.test(file);
  if (!COMPOSITION_ROOT.has(room) && ALLOWED[room] === undefined) {
    return [{ file, line: 1, why: `"${room}" is no room of docs/design.md` }];
  }
  for (const { specifier, typeOnly, line } of importsOf(source)) {
    const refuse = (why: string): void => {
      violations.push({ file, line, why: `imports ${specifier}: ${why}` });
    };
    if (!specifier.startsWith('.')) {
      if (deciding && specifier.startsWith('node:')) refuse('a diff imports nothing of node:');
      continue;
    }
    const target = posix.normalize(posix.join(posix.dirname(file), specifier));
    if (target.startsWith('..')) {
      refuse('src/ imports nothing from outside src/');
      continue;
    }
    const targetRoom = roomOf(target);
    const port = posix.basename(target) === 'port.ts';
    // A device's own files may share their real adapter; nobody else but the composition root may name it.
    const sameFolder = posix.dirname(target) === posix.dirname(file);
    if (posix.basename(target) === 'real.ts' && !COMPOSITION_ROOT.has(room) && !sameFolder) {
      refuse('only daemon.ts (and the contract and host tests) imports a real.ts');
    }
    if (posix.basename(target) === 'fake.ts' && !sameFolder) refuse('a fake is for tests');
    if (room === targetRoom || COMPOSITION_ROOT.has(room)) continue;
    if (STRANGERS.some((pair) => pair.includes(room) && pair.includes(targetRoom))) {
      refuse(`${room} and ${targetRoom} never import each other`);
      continue;
    }
    if (deciding && (targetRoom === 'host' || targetRoom === 'cluster')) {
      if (!(port && typeOnly)) refuse(`a diff imports no code of ${targetRoom}`);
      continue;
    }
    const allowed = ALLOWED[room];
    if (allowed?.rooms.includes(targetRoom)) continue;
    // Interfaces are erased: types of a port bind nobody to the code behind it.
    if (port && (typeOnly || allowed?.ports.includes(targetRoom))) continue;
    const where = allowed?.ports.includes(targetRoom)
      ? `only port.ts files of ${targetRoom}`
      : `nothing of ${targetRoom}`;
    refuse(`${room} may import ${where} (docs/design.md)`);
  }
  if (deciding) {
    withoutStrings(source)
      .split('\n')
      .forEach((text, index) => {
        const used = IMPURE.exec(text)?.[0];
        if (used !== undefined) violations.push({ file, line: index + 1, why: `uses ${used}: deciding is pure` });
      });
  }
  return violations;
}
