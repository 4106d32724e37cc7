package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/matrix-org/pinecone/router"
	"github.com/matrix-org/pinecone/types"
)

// What the benchmarks measure where both ends are nodes of this kind.

type loadOptions struct {
	Count   int      `json:"count"`   // requests one after the other
	Workers int      `json:"workers"` // that ask side by side
	Seconds float64  `json:"seconds"` // for which they do
	Keys    []string `json:"keys"`    // of nodes to be probed
}

// small sends small requests one after the other and returns the seconds that each took.
func (n *node) small(o requestOptions, count int) ([]float64, error) {
	took := make([]float64, 0, count)
	for i := 0; i < count; i++ {
		result, err := n.request(o)
		if err != nil {
			return nil, err
		}
		took = append(took, result.Seconds)
	}
	return took, nil
}

type loadResult struct {
	Seconds []float64 `json:"seconds"` // of each request
	Elapsed float64   `json:"elapsed"`
}

// load has so many workers send small requests for so long.
func (n *node) load(o requestOptions, workers int, seconds float64) (*loadResult, error) {
	result := &loadResult{}
	started := time.Now()
	until := started.Add(time.Duration(seconds * float64(time.Second)))
	var mutex sync.Mutex
	var group sync.WaitGroup
	var failure error
	for i := 0; i < workers; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for time.Now().Before(until) {
				one, err := n.request(o)
				mutex.Lock()
				if err != nil {
					failure = err
					mutex.Unlock()
					return
				}
				result.Seconds = append(result.Seconds, one.Seconds)
				mutex.Unlock()
			}
		}()
	}
	group.Wait()
	result.Elapsed = time.Since(started).Seconds()
	return result, failure
}

const (
	probe        = 'P'
	probed       = 'A'
	probeSpacing = 500 * time.Millisecond
)

// probes answers packets that ask whether this node is there, and notes answers to its own.
type probes struct {
	router  *router.Router
	mutex   sync.Mutex
	answers map[types.PublicKey]bool
}

func newProbes(r *router.Router) *probes {
	p := &probes{router: r, answers: map[types.PublicKey]bool{}}
	_ = r.SetReadDeadline(time.Now().Add(24 * time.Hour))
	go p.read()
	return p
}

func (p *probes) read() {
	buffer := make([]byte, 65536)
	for {
		length, from, err := p.router.ReadFrom(buffer)
		if err != nil {
			return
		}
		key, ok := from.(types.PublicKey)
		if !ok || length == 0 {
			continue
		}
		if buffer[0] == probe {
			_, _ = p.router.WriteTo([]byte{probed}, key)
		} else {
			p.mutex.Lock()
			p.answers[key] = true
			p.mutex.Unlock()
		}
	}
}

// probe asks each of the nodes until it has answered, and returns the seconds until all had.
func (p *probes) probe(keys []string, timeout float64) (map[string]float64, error) {
	waiting := map[types.PublicKey]bool{}
	for _, digits := range keys {
		key, err := decodeKey(digits)
		if err != nil {
			return nil, err
		}
		waiting[key] = true
	}
	started := time.Now()
	for len(waiting) > 0 {
		if time.Since(started).Seconds() > timeout {
			return nil, fmt.Errorf("%d nodes have not answered", len(waiting))
		}
		for key := range waiting {
			_, _ = p.router.WriteTo([]byte{probe}, key)
		}
		for again := time.Now().Add(probeSpacing); len(waiting) > 0 && time.Now().Before(again); {
			time.Sleep(probeSpacing / 50)
			p.mutex.Lock()
			for key := range p.answers {
				delete(waiting, key)
			}
			p.mutex.Unlock()
		}
	}
	return map[string]float64{"seconds": time.Since(started).Seconds()}, nil
}

func (n *node) probe(keys []string, timeout float64) (map[string]float64, error) {
	if n.probes == nil {
		return nil, errors.New("this node does not read packets itself")
	}
	return n.probes.probe(keys, timeout)
}
