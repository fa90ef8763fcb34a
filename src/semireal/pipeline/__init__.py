"""The repository as a whole: parameters and their composition, sweeps, proof, export, tidying up."""
