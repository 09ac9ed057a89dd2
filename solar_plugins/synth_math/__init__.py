"""The two math sets of the paper's Table 1 that are not public, made again.

Synth. Math-Instruct and Synth. Math-Alignment come from the training problems of MATH and of no
other set (section 3), rephrased and answered anew as MetaMath does it (arXiv 2309.12284).
"""
