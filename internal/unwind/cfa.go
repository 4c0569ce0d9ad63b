package unwind

// Registers as DWARF numbers them on x86-64 (psABI, figure 3.36).
const (
	regBP     = 6
	regSP     = 7
	regReturn = 16
)

type cfaKind uint8

const (
	cfaBad cfaKind = iota
	cfaRegister
	cfaDeref // the word at register + offset
	cfaPLT
)

type bpKind uint8

const (
	bpSame bpKind = iota
	bpAtCFA
	bpAtFrame
	bpLost
)

type raKind uint8

const (
	raLost raKind = iota
	raBelowCFA
	raNone // undefined: the outermost frame
)

// state is the rule for one address, while instructions change it.
type state struct {
	cfa    cfaKind
	bp     bpKind
	ra     raKind
	plt    uint8
	reg    uint64
	offset int64
	bpAt   int64
}

func (s state) rule(signal bool) Rule {
	bp := uint32(Same)
	switch s.bp {
	case bpAtFrame:
		bp = AtFrame
	case bpLost:
		bp = Lost
	case bpAtCFA:
		bp = Lost
		if n := -s.bpAt / word; s.bpAt%word == 0 && n > 1 && n < Lost {
			bp = uint32(n)
		}
	}
	switch {
	case s.ra == raNone:
		return Rule(End)
	case signal && s.cfa == cfaDeref && s.reg == regSP && s.offset == signalSP:
		return Rule(Signal)
	case signal || s.ra != raBelowCFA:
		return Rule(Unsupported)
	case s.cfa == cfaRegister && s.reg == regSP:
		return makeRule(StackPtr, bp, s.offset)
	case s.cfa == cfaRegister && s.reg == regBP:
		return makeRule(FramePtr, bp, s.offset)
	case s.cfa == cfaDeref && s.reg == regBP:
		return makeRule(Realigned, bp, s.offset)
	case s.cfa == cfaPLT:
		return makeRule(PLT, uint32(s.plt), 0)
	}
	return Rule(Unsupported)
}

// signalSP is where the kernel saves rsp in a signal frame: that of
// uc_mcontext in struct ucontext (arch/x86/include/uapi/asm/ucontext.h).
const signalSP = 160

// machine runs call frame instructions (DWARF 5, section 6.4.2).
type machine struct {
	c     *cie
	now   state
	saved []state
	pc    uint64 // relative to the function
}

const maxSaved = 64

// run executes instructions and passes on each rule with the first address it
// is for. It reports whether it understood everything.
func (m *machine) run(b []byte, emit func(pc uint64, r Rule)) bool {
	r := reader{b: b}
	for len(r.b) > 0 {
		op := r.u8()
		low := uint64(op & 0x3f)
		switch op >> 6 {
		case 1:
			m.advance(low, emit)
		case 2:
			m.saveAt(low, int64(r.uleb())*m.c.data)
		case 3:
			m.restore(low)
		default:
			if !m.extended(op, &r, emit) {
				return false
			}
		}
		if r.bad || m.pc > maxText {
			return false
		}
	}
	if emit != nil {
		emit(m.pc, m.now.rule(m.c.signal))
	}
	return true
}

func (m *machine) advance(n uint64, emit func(uint64, Rule)) {
	if n == 0 || m.c.code == 0 {
		return
	}
	if emit != nil {
		emit(m.pc, m.now.rule(m.c.signal))
	}
	m.pc += min(n, maxText+1) * min(m.c.code, maxText+1) // run stops beyond maxText
}

// Call frame instructions without an operand in their first byte.
const (
	opNop            = 0x00
	opSetLoc         = 0x01
	opAdvance1       = 0x02
	opAdvance2       = 0x03
	opAdvance4       = 0x04
	opOffset         = 0x05
	opRestore        = 0x06
	opUndefined      = 0x07
	opSame           = 0x08
	opRegister       = 0x09
	opRemember       = 0x0a
	opRestoreState   = 0x0b
	opDefCFA         = 0x0c
	opDefCFARegister = 0x0d
	opDefCFAOffset   = 0x0e
	opDefCFAExpr     = 0x0f
	opExpr           = 0x10
	opOffsetSF       = 0x11
	opDefCFASF       = 0x12
	opDefCFAOffsetSF = 0x13
	opValOffset      = 0x14
	opValOffsetSF    = 0x15
	opValExpr        = 0x16
	opArgsSize       = 0x2e
	opNegativeOffset = 0x2f
)

func (m *machine) extended(op uint8, r *reader, emit func(uint64, Rule)) bool {
	switch op {
	case opNop:
	case opAdvance1:
		m.advance(uint64(r.u8()), emit)
	case opAdvance2:
		m.advance(uint64(r.u16()), emit)
	case opAdvance4:
		m.advance(uint64(r.u32()), emit)
	case opRemember:
		if len(m.saved) >= maxSaved {
			return false
		}
		m.saved = append(m.saved, m.now)
	case opRestoreState:
		n := len(m.saved)
		if n == 0 {
			return false
		}
		m.now, m.saved = m.saved[n-1], m.saved[:n-1]
	case opArgsSize:
		r.uleb()
	case opDefCFA, opDefCFASF, opDefCFARegister, opDefCFAOffset, opDefCFAOffsetSF, opDefCFAExpr:
		m.defineCFA(op, r)
	default:
		return m.register(op, r)
	}
	return true
}

func (m *machine) defineCFA(op uint8, r *reader) {
	s := &m.now
	switch op {
	case opDefCFA:
		s.reg, s.offset = r.uleb(), int64(r.uleb())
	case opDefCFASF:
		s.reg, s.offset = r.uleb(), r.sleb()*m.c.data
	case opDefCFARegister:
		s.reg = r.uleb()
	case opDefCFAOffset:
		s.offset = int64(r.uleb())
	case opDefCFAOffsetSF:
		s.offset = r.sleb() * m.c.data
	case opDefCFAExpr:
		s.expression(r.take(r.uleb()))
		return
	}
	s.cfa = cfaRegister
}

// register handles instructions about one register; of most we only need to
// know how long they are.
func (m *machine) register(op uint8, r *reader) bool {
	reg := r.uleb()
	switch op {
	case opOffset:
		m.saveAt(reg, int64(r.uleb())*m.c.data)
	case opOffsetSF:
		m.saveAt(reg, r.sleb()*m.c.data)
	case opNegativeOffset:
		m.saveAt(reg, -int64(r.uleb())*m.c.data)
	case opRestore:
		m.restore(reg)
	case opUndefined:
		m.set(reg, bpLost, raNone)
	case opSame:
		m.set(reg, bpSame, raLost)
	case opRegister, opValOffset:
		r.uleb()
		m.set(reg, bpLost, raLost)
	case opValOffsetSF:
		r.sleb()
		m.set(reg, bpLost, raLost)
	case opExpr, opValExpr:
		b := r.take(r.uleb())
		kind := bpLost
		if op == opExpr && len(b) == 2 && b[0] == opBreg0+regBP && b[1] == 0 {
			kind = bpAtFrame
		}
		m.set(reg, kind, raLost)
	default:
		return false
	}
	return true
}

func (m *machine) set(reg uint64, bp bpKind, ra raKind) {
	switch reg {
	case regBP:
		m.now.bp = bp
	case regReturn:
		m.now.ra = ra
	}
}

func (m *machine) saveAt(reg uint64, offset int64) {
	switch reg {
	case regBP:
		m.now.bp, m.now.bpAt = bpAtCFA, offset
	case regReturn:
		m.now.ra = raLost
		if offset == -word {
			m.now.ra = raBelowCFA
		}
	}
}

func (m *machine) restore(reg uint64) {
	switch reg {
	case regBP:
		m.now.bp, m.now.bpAt = m.c.initial.bp, m.c.initial.bpAt
	case regReturn:
		m.now.ra = m.c.initial.ra
	}
}

// Operations of expressions.
const (
	opDeref = 0x06
	opLit0  = 0x30
	opBreg0 = 0x70
)

// expression understands the few that compilers and linkers write.
func (s *state) expression(b []byte) {
	s.cfa = cfaBad
	// breg7 8, breg16 0, lit15, and, litN, ge, lit3, shl, plus: binutils' PLT.
	if len(b) == 11 && string(b[:6]) == "\x77\x08\x80\x00\x3f\x1a" && string(b[7:]) == "\x2a\x33\x24\x22" {
		if n := b[6] - opLit0; n < 16 {
			s.cfa, s.plt = cfaPLT, n
		}
		return
	}
	r := reader{b: b}
	op := r.u8()
	s.offset = r.sleb()
	if r.bad || op != opBreg0+regBP && op != opBreg0+regSP {
		return
	}
	s.reg = uint64(op - opBreg0)
	switch {
	case len(r.b) == 0:
		s.cfa = cfaRegister
	case len(r.b) == 1 && r.b[0] == opDeref:
		s.cfa = cfaDeref
	}
}
