"""Eigenvalues of weight matrices, the power laws and bulks that fit them, and what of them training uses.

Numbers on tensors alone; `zoo.metrics.spectrum` and `zoo.metrics.farms` are how people call them.
"""

from zoo.spectra.fits import FEWEST as FEWEST
from zoo.spectra.fits import Fit as Fit
from zoo.spectra.fits import PowerLaw as PowerLaw
from zoo.spectra.fits import fit_power_law as fit_power_law
from zoo.spectra.gram import eigenvalues as eigenvalues
from zoo.spectra.matrices import as_matrices as as_matrices
from zoo.spectra.matrices import slices as slices
from zoo.spectra.windows import WINDOW as WINDOW
from zoo.spectra.windows import WINDOWS_PER_DIM as WINDOWS_PER_DIM
from zoo.spectra.windows import Windows as Windows
from zoo.spectra.windows import windowed_eigenvalues as windowed_eigenvalues
