/**
 * How much of what somebody writes is taken. All of a window or nothing more of it: taking a line now and then of a flood
 * would cost most and tell least.
 */
export interface AllowanceLimits {
  readonly lines: number;
  readonly bytes: number;
  readonly windowMs: number;
}

export interface Allowance {
  /** False until the window in which something was refused is over. */
  open(now: number): boolean;
  take(bytes: number, now: number): boolean;
}

export function createAllowance(limits: AllowanceLimits): Allowance {
  let begun = -Infinity;
  let lines = 0;
  let bytes = 0;
  let refused = false;
  const renew = (now: number): void => {
    // A clock that was set back must not make the window last.
    if (now - begun < limits.windowMs && now >= begun) return;
    begun = now;
    lines = 0;
    bytes = 0;
    refused = false;
  };
  return {
    open: (now) => {
      renew(now);
      return !refused;
    },
    take: (size, now) => {
      renew(now);
      refused ||= lines + 1 > limits.lines || bytes + size > limits.bytes;
      if (refused) return false;
      lines++;
      bytes += size;
      return true;
    },
  };
}
