import { hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { ServicePortRules } from '../model.ts';
import type { BaseRules, RuleChange, SyncReport } from '../port.ts';
import { inPieces } from './in-turns.ts';

/** Services are tried out in groups of at most so many: a large transaction takes some kernels far too long. */
const servicesPerTrial = 500;

export type ServiceGroup = readonly (readonly [string, readonly ServicePortRules[]])[];

/** What a backend can do that writes everything at once. */
export interface WholeWriter {
  /** Writes a change without the Services that the kernel refuses (name → why). */
  apply(change: RuleChange, refused: ReadonlyMap<string, string>, signal?: AbortSignal): Promise<SyncReport>;
  /** The error with which the kernel refuses this group, if it does, without harm to traffic. Other errors are thrown. */
  tryOut(group: ServiceGroup, base: BaseRules, signal?: AbortSignal): Promise<unknown>;
  /** What is believed of the kernel is not true any more. */
  forget(): void;
}

/**
 * Writes a change; when the kernel refuses a complete one, finds the Services that it refuses by trying ever smaller
 * groups, and writes the rest. Throws what `apply` throws when no Service is at fault.
 */
export async function applyOrSetAside(
  writer: WholeWriter,
  log: Logger,
  change: RuleChange,
  signal?: AbortSignal,
): Promise<SyncReport> {
  try {
    return await writer.apply(change, new Map(), signal);
  } catch (error) {
    writer.forget();
    // Only what the kernel refuses can be the fault of one Service; a partial sync is first tried again whole.
    if (!change.complete || !hasCode(error, 'CommandFailed')) throw error;
    const refused = await findRefused(writer, change, signal);
    writer.forget();
    if (refused.size === 0) throw error;
    for (const [service, reason] of refused) {
      log.warn({ service, reason }, 'set aside a Service whose rules the kernel refuses');
    }
    return await writer.apply(change, refused, signal);
  }
}

async function findRefused(
  writer: WholeWriter,
  change: RuleChange,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const refused = new Map<string, string>();
  // Refused without any Service: the trouble is elsewhere, and looking for a Service would take forever.
  if ((await writer.tryOut([], change.base, signal)) !== undefined) return refused;
  for await (const group of inPieces(change.services, servicesPerTrial)) {
    await search(writer, change.base, group, refused, signal);
  }
  return refused;
}

async function search(
  writer: WholeWriter,
  base: BaseRules,
  group: ServiceGroup,
  refused: Map<string, string>,
  signal?: AbortSignal,
): Promise<void> {
  const error = await writer.tryOut(group, base, signal);
  if (error === undefined) return;
  const [first] = group;
  if (group.length === 1 && first !== undefined) {
    refused.set(first[0], messageOf(error));
    return;
  }
  const middle = group.length >> 1;
  await search(writer, base, group.slice(0, middle), refused, signal);
  await search(writer, base, group.slice(middle), refused, signal);
}
