"""Options that nobody knows are refused with the one that was meant."""

import pytest

from zoo import architectures, datasets
from zoo.errors import SpecificationError
from zoo.spec import ArchitectureSpecification, DatasetSpecification


@pytest.mark.parametrize("name", architectures.names())
def test_a_misspelt_option_of_an_architecture_names_the_one_that_was_meant(name):
    option = architectures.option_names(name)[0]
    given = ArchitectureSpecification.model_validate({"name": name, f"{option}s": 3})
    match = rf"{option}s: Extra inputs are not permitted, got 3; did you mean '{option}'\?"
    with pytest.raises(SpecificationError, match=match):
        architectures.resolve(given)


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("convection", "coeficient", "coefficient"),
        ("text", "tokeniser", "tokenizer"),
        ("digits", "label_nois", "label_noise"),
        ("text", "fracton", "fraction"),
    ],
)
def test_a_misspelt_option_of_a_dataset_names_its_own_and_those_of_all(name, given, meant):
    with pytest.raises(SpecificationError, match=rf"{given}: Extra .*; did you mean '{meant}'\?"):
        datasets.resolve(DatasetSpecification.model_validate({"name": name, given: 1}))


def test_an_option_like_no_other_is_refused_without_a_guess():
    with pytest.raises(SpecificationError, match=r"zzz: Extra inputs are not permitted, got 1$"):
        datasets.resolve(DatasetSpecification.model_validate({"name": "digits", "zzz": 1}))
    with pytest.raises(SpecificationError, match=r"zzz: Extra inputs are not permitted, got 1$"):
        architectures.resolve(ArchitectureSpecification.model_validate({"name": "cnn", "zzz": 1}))
