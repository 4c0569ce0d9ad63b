/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Sockets: what is sent and received, and TCP segments that were sent again. */
#pragma once

const volatile u32 row_net_send = NO_ROW;
const volatile u32 row_net_recv = NO_ROW;
const volatile u32 row_tcp_retransmit = NO_ROW;

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define EAGAIN 11

/* Whose TCP socket it is. Segments are sent again by a timer or an interrupt,
 * when anybody may be on the CPU. */
struct owner {
	u64 start_boottime; /* of the process */
	u64 cgroup;
	u32 tgid, tid;
	u16 port, peer_port; /* another socket may have come to this address */
	u32 _pad;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64); /* the socket's address */
	__type(value, struct owner);
} owners SEC(".maps");

static __always_inline bool is_tcp(struct sock *sk)
{
	u16 family = sk->__sk_common.skc_family;

	return (family == AF_INET || family == AF_INET6) && sk->sk_type == SOCK_STREAM;
}

static __noinline void own(struct sock *sk, struct task_struct *task)
{
	u64 key = (u64)sk;
	struct owner *known, o = {};

	if (!sk || !task)
		return;
	known = bpf_map_lookup_elem(&owners, &key);
	o.port = sk->__sk_common.skc_num;
	o.peer_port = sk->__sk_common.skc_dport;
	if (known && known->tgid == task->tgid && known->port == o.port && known->peer_port == o.peer_port)
		return;
	o.start_boottime = task->group_leader->start_boottime;
	o.cgroup = bpf_get_current_cgroup_id();
	o.tgid = task->tgid;
	o.tid = task->pid;
	bpf_get_current_comm(o.comm, sizeof(o.comm));
	bpf_map_update_elem(&owners, &key, &o, BPF_ANY);
}

/* The time of an operation is what the thread waited on sockets since its
 * last one: in this call, or before it in poll or epoll. */
static __always_inline int socket_operation(struct sock *sk, s32 ret, u32 row)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread *th = acting(task);
	struct cell *c;
	u64 waited;

	if (!th)
		return 0;
	if (row_tcp_retransmit < MAX_CALLS && is_tcp(sk))
		own(sk, task);
	waited = th->net_ns;
	th->net_ns = 0;
	c = count_operation(th, task, row, ret > 0 ? ret : 0, waited);
	if (c && ret < 0 && ret != -EAGAIN)
		__sync_fetch_and_add(&c->errors, 1);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(sock_send, struct sock *sk, int ret)
{
	return socket_operation(sk, ret, row_net_send);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(sock_recv, struct sock *sk, int ret)
{
	return socket_operation(sk, ret, row_net_recv);
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(tcp_retransmit, struct sock *sk)
{
	u64 key = (u64)sk, now = bpf_ktime_get_ns();
	struct owner *o = bpf_map_lookup_elem(&owners, &key);
	struct call_record *r;
	struct cell *c;
	u32 index;

	if (!o || o->port != sk->__sk_common.skc_num || o->peer_port != sk->__sk_common.skc_dport || !traced(o->tgid))
		return 0;
	index = take_cell(o->tgid, row_tcp_retransmit, o->start_boottime);
	c = bpf_map_lookup_elem(&cells, &index);
	if (!c)
		return 0;
	count(c, index, 0, 0, 0, 0);
	if (!wanted(c, true, 0, 0, now))
		return 0;
	r = begin_record(c);
	if (!r)
		return 0;
	__builtin_memset(r, 0, sizeof(*r));
	r->start_ns = now;
	/* the peer: its IPv4 address, if it has one, and its port */
	r->handle = __builtin_bswap16(o->peer_port);
	if (sk->__sk_common.skc_family == AF_INET)
		r->handle |= (u64)__builtin_bswap32(sk->__sk_common.skc_daddr) << 16;
	r->cgroup = o->cgroup;
	r->pid = o->tgid;
	r->tid = o->tid;
	r->row = row_tcp_retransmit;
	__builtin_memcpy(r->comm, o->comm, sizeof(r->comm));
	end_record(r, false);
	return 0;
}
