package cli

import "testing"

func TestCompareSeesWhatIsMissing(t *testing.T) {
	const truth = `{"calls":{"cudaMalloc":2,"cudaFree":1,"cudaStreamCreate":9}}`
	for _, c := range []struct {
		name    string
		counted map[string]uint64
		same    bool
	}{
		{"all", map[string]uint64{"cudaMalloc": 2, "cudaFree": 1}, true},
		{"one function not traced", map[string]uint64{"cudaMalloc": 2}, false},
		{"one call too many", map[string]uint64{"cudaMalloc": 3, "cudaFree": 1}, false},
		{"a call never made", map[string]uint64{"cudaMalloc": 2, "cudaFree": 1, "cudaMemcpy": 1}, false},
	} {
		if _, err := compare([]byte(truth), c.counted, false); (err == nil) != c.same {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
