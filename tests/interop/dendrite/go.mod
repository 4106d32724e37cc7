// Dendrite, so that its demo of Pinecone can be built as it is: tests/support/dendrite_process.py.
module dendrite

go 1.23.0

require github.com/element-hq/dendrite v0.15.2
