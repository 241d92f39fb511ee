// The oracle of the YAML corpus: it reads each case with the code that kubectl reads manifests with, and writes down
// what that says. Run it from this directory after changing a case: go run . ../*.json
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

type corpus struct {
	About []string `json:"about"`
	Cases []*entry `json:"cases"`
}

type entry struct {
	Name   string  `json:"name"`
	Input  *string `json:"input,omitempty"`
	Base64 *string `json:"base64,omitempty"`
	// What kubectl reads: its documents, or its error.
	Kubectl      []json.RawMessage `json:"kubectl,omitzero"`
	KubectlError *string           `json:"kubectl_error,omitempty"`
	// Written by hand: the error that we give, and why, where kubectl gives none.
	Stricter json.RawMessage `json:"stricter,omitempty"`
	// Written by hand: what our error must say, and where.
	Says json.RawMessage `json:"says,omitempty"`
}

// read does what the StreamVisitor of k8s.io/cli-runtime does, and decodes each document as an unstructured object is.
func read(input []byte) ([]json.RawMessage, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(input), 4096)
	documents := []json.RawMessage{}
	for {
		extension := runtime.RawExtension{}
		if err := decoder.Decode(&extension); err == io.EOF {
			return documents, nil
		} else if err != nil {
			return nil, err
		}
		raw := bytes.TrimSpace(extension.Raw)
		if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
			continue
		}
		var value any
		if err := kjson.Unmarshal(raw, &value); err != nil {
			return nil, err
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		documents = append(documents, encoded)
	}
}

func regenerate(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var file corpus
	strict := json.NewDecoder(bytes.NewReader(content))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&file); err != nil {
		return err
	}
	for _, entry := range file.Cases {
		var input []byte
		if entry.Input != nil {
			input = []byte(*entry.Input)
		} else if input, err = base64.StdEncoding.DecodeString(*entry.Base64); err != nil {
			return fmt.Errorf("%s: %w", entry.Name, err)
		}
		entry.Kubectl, entry.KubectlError = nil, nil
		if documents, err := read(input); err != nil {
			text := err.Error()
			if len(text) > 160 {
				text = text[:160] + "…"
			}
			entry.KubectlError = &text
		} else {
			entry.Kubectl = documents
		}
	}
	return os.WriteFile(path, render(file), 0o644)
}

// render writes one case a line.
func render(file corpus) []byte {
	line := func(value any) string {
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(value); err != nil {
			panic(err)
		}
		return strings.TrimSpace(out.String())
	}
	about, cases := []string{}, []string{}
	for _, text := range file.About {
		about = append(about, "  "+line(text))
	}
	for _, entry := range file.Cases {
		cases = append(cases, "  "+line(entry))
	}
	return []byte("{\n \"about\": [\n" + strings.Join(about, ",\n") + "\n ],\n \"cases\": [\n" + strings.Join(cases, ",\n") + "\n ]\n}\n")
}

func main() {
	for _, path := range os.Args[1:] {
		if err := regenerate(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(1)
		}
	}
}
