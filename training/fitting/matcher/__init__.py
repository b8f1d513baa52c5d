"""The matcher's weights (`app.retrieval.matcher`), fitted on a benchmark's training part.

Softmax regression over an instance's ten candidates: which of them the user wants, with three more terms: which can do
the job, which of those that can is wanted, and which tool answered an instruction of a history. Three linear maps of
the embedder's vectors and a few numbers are learned, with dropout on the vectors: 9,000 instances are few for a
quarter of a million weights.

What is fitted knows its own training part nearly by heart. A model that learned to read hints from there would trust
them blindly, so each training instance has hints from weights that were fitted without its user (`folds`).
"""
