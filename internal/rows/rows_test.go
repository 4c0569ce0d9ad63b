package rows

import (
	"bytes"
	"encoding/csv"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"ingero/internal/hostile"
	"ingero/internal/query"
)

var at = time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC)

var sample = &query.Rows{
	Columns: []query.Column{
		{Name: "name", Kind: reflect.String}, {Name: "count", Kind: reflect.Uint64}, {Name: "at", Kind: reflect.Int64, Time: true},
		{Name: "share", Kind: reflect.Float64}, {Name: "ret", Kind: reflect.Int64}, {Name: "on", Kind: reflect.Bool},
	},
	Values: [][]any{
		{hostile.Name + "\",\n", uint64(math.MaxUint64), at, 0.1, int64(-1), true},
		{nil, nil, nil, nil, nil, nil},
		{"", uint64(0), at, 0.0, int64(math.MinInt64), false},
	},
}

func TestCSV(t *testing.T) {
	var b bytes.Buffer
	if err := CSV(&b, sample); err != nil {
		t.Fatal(err)
	}
	got, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"name", "count", "at", "share", "ret", "on"},
		{hostile.Name + "\",\n", "18446744073709551615", "2026-01-01T00:00:00.000000005Z", "0.1", "-1", "true"},
		{"", "", "", "", "", ""},
		{"", "0", "2026-01-01T00:00:00.000000005Z", "0", "-9223372036854775808", "false"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}

// What is written is read back as it was, by name.
func TestParquet(t *testing.T) {
	var b bytes.Buffer
	if err := Parquet(&b, sample); err != nil {
		t.Fatal(err)
	}
	type row struct {
		Name  *string  `parquet:"name,optional"`
		Count *uint64  `parquet:"count,optional"`
		At    *int64   `parquet:"at,optional,timestamp(nanosecond)"`
		Share *float64 `parquet:"share,optional"`
		Ret   *int64   `parquet:"ret,optional"`
		On    *bool    `parquet:"on,optional"`
	}
	got, err := parquet.Read[row](bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	if x := got[0]; *x.Name != hostile.Name+"\",\n" || *x.Count != math.MaxUint64 || *x.At != at.UnixNano() || *x.Share != 0.1 || *x.Ret != -1 || !*x.On {
		t.Errorf("%+v", x)
	}
	if x := got[1]; x.Name != nil || x.Count != nil || x.At != nil || x.Share != nil || x.Ret != nil || x.On != nil {
		t.Errorf("%+v", x)
	}
	if x := got[2]; *x.Name != "" || *x.Count != 0 || *x.Ret != math.MinInt64 || *x.On {
		t.Errorf("%+v", x)
	}
	same := &query.Rows{Columns: []query.Column{{Name: "a"}, {Name: "a"}}}
	if err := Parquet(&b, same); err == nil || !strings.Contains(err.Error(), "the same name") {
		t.Error(err)
	}
}

// Another reader than ours, where there is one.
func TestParquetElsewhere(t *testing.T) {
	if err := exec.Command("python3", "-c", "import pyarrow").Run(); err != nil {
		t.Skip("needs python3 with pyarrow")
	}
	path := filepath.Join(t.TempDir(), "x.parquet")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Parquet(f, sample); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("python3", "-c", "import sys, pyarrow.parquet as p; t = p.read_table(sys.argv[1]); print(t.schema); print(t.to_pydict()['count'])", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "[18446744073709551615, None, 0]") || !strings.Contains(string(out), "timestamp[ns, tz=UTC]") {
		t.Errorf("%v: %s", err, out)
	}
}
