/** The service manager that started this process, as far as a service may speak to it (sd_notify(3)). */
export interface ServiceManagerPort {
  /**
   * Sends one datagram of assignments such as READY=1, STATUS=text, WATCHDOG=1 or STOPPING=1 and returns once the
   * manager has taken it. Throws CodedError: InvalidArgument for a text of several lines, Unavailable when it cannot be
   * sent, DeadlineExceeded when nobody takes it.
   */
  notify(assignments: Readonly<Record<string, string>>): Promise<void>;
}
