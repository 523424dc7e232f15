/** The kernel's log. */
export interface KmsgPort {
  /**
   * Its messages in order, those still in the kernel's buffer first, then new ones within seconds, until `signal` aborts.
   * Throws Forbidden or NotFound when the log cannot be opened, and Internal when it can no longer be read.
   */
  messages(signal: AbortSignal): AsyncIterable<string>;
}
