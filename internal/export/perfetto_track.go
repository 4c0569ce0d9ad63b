package export

import "strings"

// Fields of descriptors: track_descriptor.proto, process_descriptor.proto,
// thread_descriptor.proto, counter_descriptor.proto.
const (
	trackUUID    = 1
	trackName    = 2
	trackProcess = 3
	trackThread  = 4
	trackParent  = 5
	trackCounter = 8
	trackMerge   = 15
	mergeNone    = 2

	processPID     = 1
	processCmdline = 2
	processTitle   = 6
	processStart   = 7

	threadPID  = 1
	threadTID  = 2
	threadName = 5

	counterUnit = 6
)

func (p *perfetto) process(x *process) {
	b := text(number(nil, processPID, uint64(x.number)), processTitle, valid(x.name))
	for _, word := range strings.Fields(x.cmdline) {
		b = text(b, processCmdline, valid(word))
	}
	if x.start > 0 {
		b = number(b, processStart, uint64(x.start))
	}
	p.describe(message(text(number(nil, trackUUID, x.id), trackName, valid(x.name)), trackProcess, b))
}

func (p *perfetto) track(t *track) {
	b := text(number(nil, trackUUID, t.id), trackName, valid(t.name))
	switch t.kind {
	case threadTrack:
		d := number(number(nil, threadPID, uint64(t.proc.number)), threadTID, uint64(t.tid))
		b = message(b, trackThread, text(d, threadName, valid(t.name)))
	case stateTrack, wakeTrack:
		b = number(number(b, trackParent, t.thread.id), trackMerge, mergeNone)
	case counterTrack:
		b = message(number(b, trackParent, t.proc.id), trackCounter, text(nil, counterUnit, t.unit))
	default: // lanes of the same name are shown as one
		b = number(b, trackParent, t.proc.id)
	}
	p.describe(b)
}

func (p *perfetto) describe(descriptor []byte) {
	p.packet = message(number(p.packet[:0], packetSequence, seqTracks), packetTrack, descriptor)
	p.write()
}

// valid is a text that protobuf takes: names of processes may be any bytes.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
