//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The kernel side, one object. Data flows down this list. */
#include "kernel.h"
#include "event.h"
#include "histogram.h"
#include "target.h"
#include "cell.h"
#include "capture.h"
#include "ledger.h"
#include "device.h"
#include "record.h"
#include "unwind.h"
#include "step.h"
#include "walk.h"
#include "python.h"
#include "stack.h"
#include "call.h"
#include "host/operation.h"
#include "host/reason.h"
#include "host/thief.h"
#include "host/waker.h"
#include "host/process.h"
#include "host/sched.h"
#include "host/memory.h"
#include "host/rival.h"
#include "host/block.h"
#include "host/net.h"

/* Kept so that bpf2go can make Go types of them. */
struct call_record *unused_call_record __attribute__((unused));
struct process_record *unused_process_record __attribute__((unused));
enum process_kind *unused_process_kind __attribute__((unused));
enum state *unused_state __attribute__((unused));
enum capture_role *unused_capture_role __attribute__((unused));
enum emit *unused_emit __attribute__((unused));
enum unwind_kind *unused_unwind_kind __attribute__((unused));
enum unwind_outcome *unused_unwind_outcome __attribute__((unused));
enum enroll *unused_enroll __attribute__((unused));

char LICENSE[] SEC("license") = "Dual BSD/GPL";
