// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"
	"github.com/spf13/cobra"

	"leakprof/profiler/report"
	"leakprof/profiler/report/redact"
	"leakprof/profiler/terminal"
)

const (
	bundleSuffix = ".tar.gz"
	// bundleTop is the directory that everything in a bundle is in.
	bundleTop = "leakprof-bundle"
	// maxProfile bounds a profile that is read, in bytes, compressed or not.
	maxProfile = 512 << 20
)

type bundleFlags struct {
	out, mapping string
}

func bundleCommand() *cobra.Command {
	var f bundleFlags
	c := &cobra.Command{
		Use:   "bundle DIR",
		Short: "Pack a result for a mailing list, without names and addresses",
		Long: `Packs what a run wrote into its --out directory, with pseudonyms for addresses,
AS numbers, names of hosts, users, protocols, tables and peers, and paths.
Numbers, times, functions, BIRD's version, its build ID and its source files
stay. The same input has the same pseudonym everywhere, and addresses of one
network stay in one.

What each pseudonym stands for is in a mapping beside the archive, FILE.map.json
for FILE.tar.gz: keep it to yourself. If it is there already it is gone on with,
so that a second bundle has the pseudonyms of the first.

Unpacked, it is a directory for leakprof report, leakprof diff and go tool
pprof. Of a lab --compare or a directory of several runs all are packed. Other
files, such as recordings of BMP, are left out and named.`,
		Example: `  leakprof bundle leakprof-4242
  leakprof bundle after-fix --out after.tar.gz --map leakprof-bundle.map.json
  tar -xzf leakprof-bundle.tar.gz && leakprof report leakprof-bundle`,
		Args: arguments("DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			return runBundle(c.OutOrStdout(), args[0], &f)
		},
	}
	c.Flags().StringVar(&f.out, "out", bundleTop+bundleSuffix, "write the archive to `FILE`, which must not exist")
	c.Flags().StringVar(&f.mapping, "map", "", "write to `FILE`, or go on with it, what each pseudonym stands for (default: beside --out)")
	return c
}

func runBundle(stdout io.Writer, dir string, f *bundleFlags) error {
	mapping := cmp.Or(f.mapping, strings.TrimSuffix(f.out, bundleSuffix)+".map.json")
	if mapping == f.out {
		return usageError{fmt.Errorf("--map %s: that is the archive", mapping)}
	}
	if _, err := os.Lstat(f.out); err == nil {
		return fmt.Errorf("write bundle: %s is there already; choose another with --out", f.out)
	}
	redactor, err := loadMapping(mapping)
	if err != nil {
		return err
	}
	// No symbolic link in it leads out of it.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("read result: %w", err)
	}
	defer root.Close()
	b := &bundle{root: root, redactor: redactor}
	if err := b.collect(dir); err != nil {
		return err
	}
	// Nobody shall have a bundle that its owner cannot translate back.
	if err := report.WriteFile(mapping, redactor.WriteMapping); err != nil {
		return err
	}
	if err := report.WriteFile(f.out, b.write); err != nil {
		return err
	}
	names, addresses, asNumbers := redactor.Counts()
	fmt.Fprintf(stdout, "%s: %d files; replaced %d names, %d addresses, %d AS numbers\n", f.out, len(b.members), names, addresses, asNumbers)
	fmt.Fprintf(stdout, "%s: what each pseudonym stands for; it is not in the archive: keep it\n", mapping)
	for _, name := range b.leftOut {
		fmt.Fprintf(stdout, "left out: %s, which is no part of a report\n", terminal.Line(name))
	}
	return nil
}

func loadMapping(name string) (*redact.Redactor, error) {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return redact.New(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read mapping: %w", err)
	}
	defer file.Close()
	r, err := redact.Load(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// bundle is what goes into an archive.
type bundle struct {
	root     *os.Root
	redactor *redact.Redactor
	runs     []bundledRun
	members  []member
	leftOut  []string
	ended    time.Time // of the last run
}

// bundledRun is one run's directory in the result, "." for the result itself.
type bundledRun struct {
	dir string
	*report.Document
	profiles []string
}

type member struct {
	name string
	data []byte
}

// profileFiles are those that a run can have.
var profileFiles = []string{report.BaselineFile, report.FloodedFile, report.SettledFile, report.RetainedFile}

// collect reads everything, replaces, and makes anew what is made of
// report.json.
func (b *bundle) collect(dir string) error {
	if err := b.find(".", true); err != nil {
		return err
	}
	if len(b.runs) == 0 {
		return fmt.Errorf("read %s: it has no %s: it is no --out directory of leakprof, or its run did not end", dir, report.JSONFile)
	}
	// A name that one run has where only names stand may be quoted in another.
	for _, r := range b.runs {
		b.redactor.Learn(r.Document)
	}
	for _, r := range b.runs {
		b.redactor.Document(r.Document)
		if b.ended.Before(r.Ended) {
			b.ended = r.Ended
		}
		if err := b.addRun(r); err != nil {
			return err
		}
	}
	if err := b.addComparison(); err != nil {
		return err
	}
	if err := b.add("README.txt", func(w io.Writer) error {
		_, err := fmt.Fprintf(w, bundleReadme, version)
		return err
	}); err != nil {
		return err
	}
	slices.SortFunc(b.members, func(a, c member) int { return strings.Compare(a.name, c.name) })
	return nil
}

const bundleReadme = `What leakprof found of a BIRD's memory, packed by leakprof %s.

Names, addresses, AS numbers and paths are pseudonyms (name1, host1.example,
192.0.2.1, AS64496): the same one is the same thing in every file. report.txt is
for reading, report.html for a browser, and unpacked also

  leakprof report leakprof-bundle
  go tool pprof -top leakprof-bundle/retained.pb.gz
`

// find looks for runs in a directory, and in those directly in it.
func (b *bundle) find(dir string, below bool) error {
	entries, err := fs.ReadDir(b.root.FS(), dir)
	if err != nil {
		return fmt.Errorf("read result: %w", err)
	}
	here := bundledRun{dir: dir}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case e.IsDir() && below:
			if err := b.find(name, false); err != nil {
				return err
			}
		case !e.Type().IsRegular():
			b.leftOut = append(b.leftOut, name)
		case e.Name() == report.JSONFile:
			if here.Document, err = b.document(name); err != nil {
				return err
			}
		case slices.Contains(profileFiles, e.Name()):
			here.profiles = append(here.profiles, name)
		case e.Name() == report.TextFile || e.Name() == report.HTMLFile || e.Name() == comparisonText || e.Name() == comparisonJSON:
			// Made anew.
		default:
			b.leftOut = append(b.leftOut, name)
		}
	}
	if here.Document == nil {
		b.leftOut = append(b.leftOut, here.profiles...)
		return nil
	}
	b.runs = append(b.runs, here)
	return nil
}

func (b *bundle) document(name string) (*report.Document, error) {
	f, err := b.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	defer f.Close()
	d, err := report.ReadJSON(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

// add makes a file of the archive.
func (b *bundle) add(name string, content func(io.Writer) error) error {
	var data bytes.Buffer
	if err := content(&data); err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	b.members = append(b.members, member{path.Join(bundleTop, name), data.Bytes()})
	return nil
}

func (b *bundle) addRun(r bundledRun) error {
	dir := b.redactor.Path(r.dir)
	o := report.TextOptions{Dir: path.Join(bundleTop, dir), Books: true}
	for name, content := range map[string]func(io.Writer) error{
		report.JSONFile: r.WriteJSON,
		report.HTMLFile: r.WriteHTML,
		report.TextFile: func(w io.Writer) error { return r.WriteText(w, o) },
	} {
		if err := b.add(path.Join(dir, name), content); err != nil {
			return err
		}
	}
	for _, name := range r.profiles {
		p, err := b.profile(name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		b.redactor.Profile(p)
		if err := b.add(path.Join(dir, path.Base(name)), p.Write); err != nil {
			return err
		}
	}
	return nil
}

// profile reads one in the format that a run writes.
func (b *bundle) profile(name string) (*profile.Profile, error) {
	f, err := b.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(io.LimitReader(f, maxProfile))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(z, maxProfile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxProfile {
		return nil, fmt.Errorf("longer than %d bytes", maxProfile)
	}
	p, err := profile.ParseUncompressed(data)
	if err != nil {
		return nil, err
	}
	return p, p.CheckValid()
}

// addComparison makes the comparison of lab --compare anew.
func (b *bundle) addComparison() error {
	sides := []report.Side{{Name: "with BMP"}, {Name: "without BMP"}}
	for i, dir := range []string{withBMPDirectory, withoutBMPDirectory} {
		at := slices.IndexFunc(b.runs, func(r bundledRun) bool { return r.dir == dir })
		if at < 0 {
			return nil
		}
		sides[i].Document = b.runs[at].Document
	}
	c := report.Compare(sides[0], sides[1])
	return errors.Join(
		b.add(comparisonText, func(w io.Writer) error { return c.WriteText(w, report.TextOptions{Width: comparisonWidth}) }),
		b.add(comparisonJSON, c.WriteJSON),
	)
}

// write writes the archive: the same members make the same bytes.
func (b *bundle) write(w io.Writer) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, m := range b.members {
		h := &tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.data)), ModTime: b.ended.Truncate(time.Second), Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(m.data); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}
