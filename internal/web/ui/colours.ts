// Colours that people with any colour vision can tell apart (after Paul
// Tol's sets). The style sheet has the values, light and dark.

/** What each state of a thread is, in words. */
export const states: Record<string, string> = {
  running: "on a CPU",
  runnable: "waiting for a CPU",
  disk: "waiting for a disk",
  network: "waiting on a socket",
  lock: "waiting for a lock or another thread",
  gpu: "waiting in the GPU driver",
  fault: "in a page fault",
  reclaim: "freeing memory for the kernel",
  sleep: "asleep, as it asked",
  child: "waiting for a child process",
  stopped: "stopped by a signal or debugger",
  pipe: "waiting for another local process",
  other: "waiting for something else",
};

/** States from best to worst to have, as bars stack them. */
export const stateOrder = ["running", "gpu", "lock", "pipe", "child", "disk", "network", "fault", "reclaim", "runnable", "stopped", "other", "sleep"];

/** A colour of the style sheet as it is now. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim() || "#888";
}

export const stateColour = (s: string) => colour("state-" + s);

/** The series of a chart that are not states. */
export const lineColour = (i: number) => colour("line-" + (i % 7));
