package pipeline

import (
	"testing"
	"testing/synctest"

	"ingero/internal/event"
)

func TestAsyncKeepsWhatComesWithoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []event.GPUSample
		a := NewAsync(sinkFunc(func(b *Batch) { got = append(got, b.GPU...) }), 1, nil)
		b := Batch{GPU: []event.GPUSample{{GPU: 1}}}
		if err := a.Take(&b); err != nil {
			t.Fatal(err)
		}
		b.GPU[0].GPU = 2 // the batch is used again
		a.Close()
		if len(got) != 1 || got[0].GPU != 1 {
			t.Errorf("got %+v", got)
		}
	})
}
