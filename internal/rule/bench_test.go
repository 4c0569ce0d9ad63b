package rule

import (
	"strings"
	"testing"
)

// BenchmarkFind judges ten minutes of one process, as the live view does once
// a second.
func BenchmarkFind(b *testing.B) {
	second := `calls cudaLaunchKernel 9000 each 2us
calls cudaStreamSync 900 each 700us
calls cudaMemcpyAsync 900 each 4us bytes 1000000
count block_read 90 20ms bytes 90000000
ledger 1 cudaLaunchKernel running 18ms runnable 1ms
ledger 1 cudaStreamSync running 30ms lock 600ms runnable 4ms
ledger 1 between running 340ms disk 7ms
ledger 2 between running 340ms disk 7ms pipe 653ms
waker 2 pipe 1/1 python3 600ms in 900
thief 99 hog 5ms in 12
thief 0 swapper/1 1ms in 300
`
	w, err := parse("second 10 to 609\n" + second + strings.Replace("second 610 to 615\n"+second, "900 each", "400 each", 1))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		Find(*w)
	}
}
