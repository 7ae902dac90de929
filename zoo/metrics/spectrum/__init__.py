"""The spectrum of whole weight matrices: norms, ranks, exponents of the tail, the bulk, and the null."""

from zoo.metrics.spectrum.norms import SPECTRUM as SPECTRUM
from zoo.metrics.spectrum.norms import frobenius_norm as frobenius_norm
from zoo.metrics.spectrum.norms import spectral_norm as spectral_norm
from zoo.metrics.spectrum.norms import stable_rank as stable_rank
from zoo.metrics.spectrum.scaling import SCALING as SCALING
from zoo.metrics.spectrum.scaling import scaled_spectral_norm as scaled_spectral_norm
from zoo.metrics.spectrum.stored import EIGENSPECTRUM as EIGENSPECTRUM
from zoo.metrics.spectrum.stored import NULL as NULL
from zoo.metrics.spectrum.tails import alpha as alpha
from zoo.metrics.spectrum.tails import alpha_hat as alpha_hat
from zoo.metrics.spectrum.tails import bulk as bulk
from zoo.metrics.spectrum.tails import effective_rank as effective_rank
from zoo.metrics.spectrum.tails import eigenvalues as eigenvalues
from zoo.metrics.spectrum.tails import log_alpha_norm as log_alpha_norm
from zoo.metrics.spectrum.tails import power_law as power_law
from zoo.spectra import as_matrices as as_matrices

METRICS = (SPECTRUM, EIGENSPECTRUM, NULL, SCALING)
