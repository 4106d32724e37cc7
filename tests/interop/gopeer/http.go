package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"time"
)

const (
	digestHeader   = "X-Content-SHA256"
	longestContent = 64 << 20
	idleTime       = 30 * time.Second // as Dendrite has it
)

// content returns so many bytes that no compression and no lucky copy gets right.
func content(length int) ([]byte, string) {
	data := make([]byte, length)
	rand.New(rand.NewSource(int64(length))).Read(data)
	digest := sha256.Sum256(data)
	return data, hex.EncodeToString(digest[:])
}

// serve answers GET /ping, POST /upload (with length and digest of the body), GET /download?bytes=N, and
// GET /close (which ends the connection), and what homeservers ask for, until the listener is closed.
func serve(listener net.Listener, federation http.Handler, transferSeconds int) {
	mux := http.NewServeMux()
	mux.Handle("/_matrix/federation/", federation)
	mux.HandleFunc("/ping", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "pong")
	})
	mux.HandleFunc("/close", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, "closing")
	})
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		digest := sha256.New()
		length, err := io.Copy(digest, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"bytes": length, "sha256": hex.EncodeToString(digest.Sum(nil))})
	})
	mux.HandleFunc("/download", func(w http.ResponseWriter, r *http.Request) {
		length, err := strconv.Atoi(r.URL.Query().Get("bytes"))
		if err != nil || length < 0 || length > longestContent {
			http.Error(w, "bytes=0 to 67108864", http.StatusBadRequest)
			return
		}
		data, digest := content(length)
		w.Header().Set(digestHeader, digest)
		w.Header().Set("Content-Length", strconv.Itoa(length))
		_, _ = w.Write(data)
	})
	server := &http.Server{
		Handler:      mux,
		IdleTimeout:  idleTime,
		ReadTimeout:  time.Duration(transferSeconds) * time.Second,
		WriteTimeout: time.Duration(transferSeconds) * time.Second,
	}
	_ = server.Serve(listener)
}

func newClient(s streams) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:         s.DialContext,
		IdleConnTimeout:     idleTime,
		MaxIdleConnsPerHost: 8,
	}}
}

type requestOptions struct {
	Key     string  `json:"key"`
	Method  string  `json:"method"`
	Path    string  `json:"path"`
	Upload  int     `json:"upload"`  // bytes of content to send
	Close   bool    `json:"close"`   // the connection, after the answer
	Timeout float64 `json:"timeout"` // seconds
}

type requestResult struct {
	Status   int     `json:"status"`
	Bytes    int     `json:"bytes"`
	SHA256   string  `json:"sha256"`   // of the answer
	Declared string  `json:"declared"` // digest that the answer's header tells
	Sent     string  `json:"sent"`     // digest of what was uploaded
	Text     string  `json:"text"`     // of short answers
	Reused   bool    `json:"reused"`   // an earlier connection
	Seconds  float64 `json:"seconds"`
}

func (n *node) request(o requestOptions) (*requestResult, error) {
	if n.client == nil {
		return nil, errors.New("this node has no sessions")
	}
	result := &requestResult{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(o.Timeout*float64(time.Second)))
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { result.Reused = info.Reused },
	})
	var body io.Reader
	if o.Upload > 0 {
		data, digest := content(o.Upload)
		body, result.Sent = bytes.NewReader(data), digest
	}
	request, err := http.NewRequestWithContext(ctx, o.Method, fmt.Sprintf("http://%s%s", o.Key, o.Path), body)
	if err != nil {
		return nil, err
	}
	request.Close = o.Close
	started := time.Now()
	response, err := n.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	result.Seconds = time.Since(started).Seconds()
	digest := sha256.Sum256(data)
	result.Status, result.Bytes, result.SHA256 = response.StatusCode, len(data), hex.EncodeToString(digest[:])
	result.Declared = response.Header.Get(digestHeader)
	if len(data) < 1024 {
		result.Text = string(data)
	}
	return result, nil
}
