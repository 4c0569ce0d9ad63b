/* Changing the workload while it runs: signals and the control file. */
#ifndef CONTROL_H
#define CONTROL_H

/* control_block keeps the signals for control_start's thread; call it
 * before any other thread exists. */
void control_block(void);

/* control_start begins to obey signals in a thread of its own, because the
 * others may be waiting in a call. */
void control_start(void);

/* control_children passes signals on to child processes until all have
 * ended, and returns the worst of their statuses (0 or 1). */
int control_children(const int *pids, int n);

/* control_loaded tells the device what was settled before it was loaded. */
void control_loaded(void);

/* control_read reads the control file again if it changed. */
void control_read(void);

#endif
