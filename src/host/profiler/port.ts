/** Looks into this process. Only one profile is taken at a time: a second throws Unavailable. */
export interface Profiler {
  readonly busy: boolean;
  /** What runs, sampled for a while: V8's .cpuprofile as JSON. Throws the signal's reason. */
  cpu(ms: number, signal: AbortSignal): Promise<string>;
  /** What is allocated and still there at the end, sampled for a while: V8's .heapprofile as JSON. */
  allocations(ms: number, signal: AbortSignal): Promise<string>;
  /** All objects: V8's .heapsnapshot, piece by piece. The process stands still while it is made, and needs as much again. */
  heap(sink: (chunk: Buffer) => Promise<void>, signal: AbortSignal): Promise<void>;
  /** What keeps the process going, by kind: sockets, timers, requests of files … */
  active(): ReadonlyMap<string, number>;
}
